// Opens a page in headless Chromium at several sizes and tells as JSON what it sees: node look.mjs PAGE QUIET-PAGE.
// The browser comes from npm, with the libraries that it needs; it is unpacked to TMPDIR.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import chromiumPackage from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [night, quiet] = process.argv.slice(2).map((file) => pathToFileURL(file).href);
const SCREENS = {
  phone: { viewport: { width: 360, height: 740 }, colorScheme: "light" },
  "phone, dark": { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
  desktop: { viewport: { width: 1280, height: 900 }, colorScheme: "light" },
  "desktop, dark": { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
};

const frames = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

// What is drawn in each chart: how many shapes of each colour have an area.
const charts = () => [...document.querySelectorAll(".chart")].map((chart) => {
  const found = {};
  for (const shape of chart.querySelectorAll("path[fill^='var'], path[stroke^='var']")) {
    const { width, height } = shape.getBoundingClientRect();
    const colour = shape.getAttribute("fill").startsWith("var") ? shape.getAttribute("fill") : shape.getAttribute("stroke");
    const drawn = getComputedStyle(shape).fill !== "none" || getComputedStyle(shape).stroke !== "none";
    if (drawn && width + height > 1) found[colour] = (found[colour] ?? 0) + 1;
  }
  return { label: chart.getAttribute("aria-label"), shapes: found, texts: [...chart.querySelectorAll("text")].map((each) => each.textContent) };
});
const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const focused = () => {
  const { tagName, id, textContent } = document.activeElement;
  return `${tagName.toLowerCase()} ${id || textContent.trim().slice(0, 60)}`;
};

async function open(browser, url, screen, seen) {
  const context = await browser.newContext(screen);
  const page = await context.newPage();
  Object.assign(seen, { errors: [], requests: [] });
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("request", (request) => request.url() !== url && seen.requests.push(request.url()));
  await page.goto(url);
  await frames(page);
  return page;
}

async function look(page, seen) {
  seen.title = await page.title();
  seen.images = await page.locator("img").count();
  seen.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.charts = await page.evaluate(charts);
  seen.overflow = await page.evaluate(overflow);
  await page.evaluate(axe);
  const audit = async () => (await page.evaluate(() => window.axe.run())).violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)}`);
  seen.violations = await audit();
  const all = page.locator("#open-all");
  if (await all.count()) {
    await all.click();
    seen.opened = await page.locator("details[open]").count();
    seen.overflow_opened = await page.evaluate(overflow);
    seen.violations.push(...await audit());
  }
}

async function useKeyboard(page, seen) {
  seen.stops = [];
  for (let stop = 0; stop < 3; stop++) {
    await page.keyboard.press("Tab");
    seen.stops.push(await page.evaluate(focused));
  }
  await page.keyboard.press("Enter");
  seen.opened_by_key = await page.locator("details[open]").count();
}

async function click(page, seen) {
  // The first row's last bar: its story opens, and has the focus.
  const bar = page.locator("#timeline-chart path[fill^='var(--']:not([fill='var(--ink)'])").first();
  await bar.scrollIntoViewIfNeeded();
  const { x, y, width, height } = await bar.boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  const tip = page.locator("#timeline-chart div").filter({ hasText: / to / }).last();
  await tip.waitFor();
  seen.tip = await tip.innerText();
  await page.mouse.click(x + width / 2, y + height / 2);
  seen.opened_by_click = await page.evaluate(focused);
}

async function print(page, seen) {
  await page.setViewportSize({ width: 1280, height: 900 });
  await frames(page);
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  await page.setViewportSize({ width: 700, height: 900 });
  await frames(page);
  seen.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.charts = await page.evaluate(charts);
  seen.overflow = await page.evaluate(overflow);
  seen.stories = await page.locator("details").count();
  seen.opened = await page.locator("details[open]").count();
  seen.bytes = (await page.pdf({ format: "A4" })).length;
  await page.emulateMedia({ media: "screen" });
  await frames(page);
  seen.opened_afterwards = await page.locator("details[open]").count();
}

const browser = await chromium.launch({ executablePath: await chromiumPackage.executablePath(), args: ["--disable-gpu"] });
const seen = {};
try {
  const screens = Object.entries(SCREENS).map(([name, screen]) => [name, night, screen]);
  for (const [name, url, screen] of [...screens, ["quiet", quiet, SCREENS.phone]]) {
    seen[name] = {};
    const page = await open(browser, url, screen, seen[name]);
    await look(page, seen[name]);
    await page.context().close();
  }
  for (const [name, what] of Object.entries({ keyboard: useKeyboard, mouse: click, print })) {
    seen[name] = {};
    const page = await open(browser, night, SCREENS.desktop, seen[name]);
    await what(page, seen[name]);
    await page.context().close();
  }
  const page = await open(browser, night, SCREENS.desktop, {});
  seen.blocked = await page.evaluate(async () => {
    let directive = "none";
    addEventListener("securitypolicyviolation", (violation) => { directive = violation.effectiveDirective; });
    await fetch("http://127.0.0.1:9/").catch(() => {});
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return directive;
  });
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));
