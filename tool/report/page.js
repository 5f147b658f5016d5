"use strict";
// Draws the charts from the page's data. All that they say is in the page as text, too.
const { at: now, axis, nodes, budgets, words } = JSON.parse(
  document.getElementById("data").textContent,
  (key, value) => (/^\d{4}-\d\d-\d\dT[\d:]+Z$/.test(value) ? Date.parse(value) : value),
);
const ROW = 40, BAR = 14, LEAST = 4; // pixels
const ROWS = 20; // of one chart: it fits on a sheet of paper, and its axis is never far
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const span = axis.until - axis.from;

const clock = (ms, seconds) => new Date(ms).toISOString().slice(11, seconds ? 19 : 16);
const day = (ms) => new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const moment = (ms) => `${day(ms)} ${clock(ms, true)}`;

// Ticks lie on whole minutes or hours: the value axis would put them on powers of ten of milliseconds.
function timeAxis(width) {
  const step = 1000 * (STEPS.find((each) => span / (each * 1000) <= width / 90) ?? STEPS.at(-1));
  const ticks = [];
  const edge = (span / width) * 24; // half a label
  for (let at = Math.ceil((axis.from + edge) / step) * step; at <= axis.until - edge; at += step) ticks.push(at - axis.from);
  const label = (value) => {
    const at = axis.from + value;
    return step >= 86400000 ? day(at) : clock(at, step < 60000) + (at % 86400000 === 0 ? `\n${day(at)}` : "");
  };
  return {
    type: "value", min: 0, max: span, splitNumber: 1,
    axisTick: { customValues: ticks, show: true },
    axisLabel: { customValues: ticks, formatter: label, color: "var(--faint)", fontSize: 12, lineHeight: 15, hideOverlap: true },
    axisLine: { show: true, lineStyle: { color: "var(--line)" } },
    splitLine: { show: false },
  };
}

function chart(element, height, option) {
  const made = echarts.init(element, null, { renderer: "svg", width: element.clientWidth, height });
  const draw = (width) => {
    made.resize({ width, height });
    made.setOption({ animation: false, textStyle: { fontFamily: "inherit" }, ...option(width) }, { notMerge: true });
    const svg = element.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`); // so that paper of any width takes it
    svg.setAttribute("aria-hidden", "true"); // the element around it has the words
  };
  draw(element.clientWidth);
  redraws.push(() => draw(element.clientWidth));
  return made;
}

const redraws = [];

// Each segment is at least a few pixels long, so that it is seen; the later ones give way.
function bars(node, width) {
  const least = (span / width) * LEAST, parts = [];
  let at = 0;
  for (const segment of node.segments) {
    const from = Math.max(segment.from - axis.from, at);
    const until = Math.min(Math.max(segment.until - axis.from, from + least), span);
    if (from > at) parts.push({ value: from - at, itemStyle: { color: "transparent" }, silent: true });
    if (until > from) parts.push({ value: until - from, itemStyle: { color: `var(--${segment.kind})` }, segment });
    at = Math.max(until, at);
  }
  return parts;
}

function said({ data }) {
  const box = document.createElement("div");
  if (data?.segment) {
    const { kind, from, until } = data.segment;
    box.textContent = `${words[kind]}: ${moment(from)} to ${until < now ? clock(until, true) : "now"}`;
  }
  return box;
}

function timeline(rows, width) {
  const parts = rows.map((node) => bars(node, width));
  const series = Array.from({ length: Math.max(...parts.map((each) => each.length)) }, (_, place) => ({
    type: "bar", stack: "all", barWidth: BAR, emphasis: { disabled: true }, cursor: "pointer",
    data: parts.map((each) => each[place] ?? { value: 0, silent: true }),
  }));
  return {
    grid: { left: 0, right: 0, top: 4, bottom: 40 },
    tooltip: {
      trigger: "item", confine: true, formatter: said, backgroundColor: "var(--raised)", borderColor: "var(--line)",
      textStyle: { color: "var(--ink)", fontSize: 13 }, extraCssText: "white-space: normal",
    },
    xAxis: timeAxis(width),
    yAxis: {
      type: "category", inverse: true, data: rows.map((_, place) => place), axisLine: { show: false }, axisTick: { show: false },
      axisLabel: {
        inside: true, margin: 0, align: "left", verticalAlign: "bottom", padding: [0, 0, BAR / 2 + 5, 0], color: "var(--ink)",
        fontSize: 12, interval: 0, width, overflow: "truncate",
        formatter: (_, place) => `${rows[place].id}  ${rows[place].cluster}: ${rows[place].state.replaceAll("_", " ")}`,
      },
      z: 5,
    },
    series,
  };
}

function budget(each, width) {
  const most = Math.max(each.peak, each.limit ?? 0, 1);
  const steps = each.steps.filter(([at]) => at > axis.from && at < axis.until).map(([at, spent]) => [at - axis.from, spent]);
  const before = each.steps.filter(([at]) => at <= axis.from).at(-1)?.[1] ?? 0;
  const points = [[0, before], ...steps];
  return {
    grid: { left: 32, right: 0, top: 10, bottom: 40 },
    xAxis: timeAxis(width - 32),
    yAxis: {
      type: "value", min: 0, max: most, interval: Math.ceil(most / 2), axisLabel: { color: "var(--faint)" },
      splitLine: { lineStyle: { color: "var(--line)" } },
    },
    series: [{
      type: "line", step: "end", symbol: "none", silent: true, data: [...points, [span, points.at(-1)[1]]],
      lineStyle: { color: "var(--rebooting)", width: 2 }, areaStyle: { color: "var(--rebooting)", opacity: 0.15 },
      markLine: each.limit === null ? undefined : {
        silent: true, symbol: "none", data: [{ yAxis: each.limit }], lineStyle: { color: "var(--failing)", type: "dashed" },
        label: { show: false },
      },
    }],
  };
}

function show(id) {
  const story = document.getElementById(id);
  story.open = true;
  story.scrollIntoView();
  story.querySelector("summary").focus();
}

const element = document.getElementById("timeline-chart");
if (element) {
  for (let first = 0; first < nodes.length; first += ROWS) {
    const rows = nodes.slice(first, first + ROWS), part = element.appendChild(document.createElement("div"));
    chart(part, rows.length * ROW + 44, (width) => timeline(rows, width)).on("click", ({ dataIndex }) => show(rows[dataIndex].anchor));
  }
}
budgets.forEach((each, place) => {
  const of = document.getElementById(`budget-${place}`);
  if (of) chart(of, 130, (width) => budget(each, width));
});

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redraws.forEach((redraw) => redraw());
  width = innerWidth;
});

const stories = [...document.querySelectorAll("details")];
const button = document.getElementById("open-all");
if (button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    stories.forEach((each) => { each.open = open; });
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Close all stories" : "Open all stories";
  });
}
// Paper cannot be clicked: it has all stories.
matchMedia("print").addEventListener("change", ({ matches }) => {
  stories.forEach((each) => {
    if (matches && !each.open) { each.open = true; each.dataset.closed = ""; }
    else if (!matches && "closed" in each.dataset) { each.open = false; delete each.dataset.closed; }
  });
});
