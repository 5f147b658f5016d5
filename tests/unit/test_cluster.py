"""What SageMaker knows: names, facts and instances, over a real client with injected answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from node_remediation.awserrors import Meaning
from node_remediation.cluster import Facts, NodeState, SageMakerClusters
from node_remediation.lookup import LookupFailedError
from node_remediation.model import IdKind, Node
from tests.unit.fakes import NOW
from tests.unit.wire import Body, Reply, error, wired

NO_SUCH = error("ResourceNotFound", "Cluster not found")


def described(name: str, eks: str | None = None) -> Reply:
    body: Body = {"ClusterName": name, "ClusterArn": f"arn:aws:sagemaker:us-west-2:111122223333:cluster/id-of-{name}"}
    if eks:
        body["Orchestrator"] = {"Eks": {"ClusterArn": f"arn:aws:eks:us-west-2:111122223333:cluster/{eks}"}}
    return 200, body


@dataclass
class Account:
    """An account's clusters, by what DescribeCluster replies for each name; `listed` is what ListClusters shows."""

    client: Any
    replies: dict[str, Reply]
    listed: Reply | None = None
    now: datetime = NOW
    nodes: Callable[[Body], Reply] = lambda _: error("NotScripted")
    details: Callable[[Body], Reply] = lambda _: error("NotScripted")
    protected_groups: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    clusters: SageMakerClusters = field(init=False)

    def __post_init__(self) -> None:
        self.clusters = SageMakerClusters(self.client, protected_groups=self.protected_groups, clock=lambda: self.now)

    def reply(self, body: Body) -> Reply:
        if "InstanceGroupNameContains" in body:
            self.asked.append(f"nodes of {body['InstanceGroupNameContains']}")
            return self.nodes(body)
        if "NodeLogicalId" in body or "NodeId" in body:
            (id_,) = (body[kind] for kind in ("NodeId", "NodeLogicalId") if kind in body)
            self.asked.append(f"node {id_}")
            return self.details(body)
        if "ClusterName" in body:
            self.asked.append(body["ClusterName"])
            return self.replies.get(body["ClusterName"], NO_SUCH)
        self.asked.append("list")
        pages = {None: sorted(self.replies)[:1], "more": sorted(self.replies)[1:]}
        page: Body = {
            "ClusterSummaries": [
                {"ClusterName": name, "ClusterArn": f"arn:aws:sagemaker:us-west-2:111122223333:cluster/id-of-{name}"}
                for name in pages[body.get("NextToken")]
            ]
        }
        return self.listed or (200, page if body.get("NextToken") else page | {"NextToken": "more"})

    def name(self, name: str) -> str:
        with wired(self.client, self.reply):
            return self.clusters.hyperpod_name(name)

    def facts(self, name: str = "ml-a") -> Facts:
        with wired(self.client, self.reply):
            return self.clusters.facts(name)

    def instance(self, logical_id: str, cluster: str = "ml-a") -> str | None:
        with wired(self.client, self.reply):
            return self.clusters.instance_id(cluster, logical_id)

    def node(self, id_: str = "i-1", kind: IdKind = IdKind.NODE_ID) -> NodeState | None:
        with wired(self.client, self.reply):
            return self.clusters.node("ml-a", Node(kind, id_))

    def failure(self, name: str) -> tuple[str, bool]:
        with pytest.raises(LookupFailedError) as raised:
            self.name(name)
        return raised.value.error.code, raised.value.error.passing


AccountOf = Callable[..., Account]


@pytest.fixture
def account(sagemaker: Any) -> AccountOf:
    return lambda replies, **more: Account(sagemaker, replies, **more)


def test_hyperpod_name_is_itself(account: AccountOf) -> None:
    """One question, and the clusters of the account are not listed."""
    world = account({"ml-a": described("ml-a", "eks-a")})
    assert world.name("ml-a") == "ml-a"
    assert world.asked == ["ml-a"]


def test_eks_name_leads_to_its_hyperpod_cluster(account: AccountOf) -> None:
    """The name is no HyperPod cluster's, so each cluster is asked for its EKS cluster, over all pages."""
    world = account({"ml-a": described("ml-a"), "ml-b": described("ml-b", "eks-b")})
    assert world.name("eks-b") == "ml-b"
    assert world.asked == ["eks-b", "list", "ml-a", "list", "ml-b"]


def test_hyperpod_name_wins_over_an_eks_cluster_of_the_same_name(account: AccountOf) -> None:
    """Both may exist; the API is called with HyperPod names."""
    world = account({"ml-a": described("ml-a"), "ml-b": described("ml-b", "ml-a")})
    assert world.name("ml-a") == "ml-a"


def test_answers_are_remembered_for_five_minutes(account: AccountOf) -> None:
    """A storm of alarms of one cluster asks once; later it is asked again, but for what never changes."""
    world = account({"ml-b": described("ml-b", "eks-b")})
    world.name("eks-b")
    world.now += timedelta(minutes=4, seconds=59)
    assert world.name("eks-b") == "ml-b"
    assert world.asked == ["eks-b", "list", "ml-b"]
    world.now += timedelta(seconds=1)
    assert world.name("eks-b") == "ml-b"
    assert world.asked == ["eks-b", "list", "ml-b", "eks-b", "list"]


def test_no_is_remembered_for_half_a_minute(account: AccountOf) -> None:
    """A storm of alarms of no cluster asks once; a cluster that is created soon after is found."""
    world = account({})
    assert world.failure("ml-a") == ("ResourceNotFound", False)
    asked = len(world.asked)
    world.replies["ml-a"] = described("ml-a")
    world.now += timedelta(seconds=29)
    assert world.failure("ml-a") == ("ResourceNotFound", False)
    assert len(world.asked) == asked
    world.now += timedelta(seconds=1)
    assert world.name("ml-a") == "ml-a"


def test_passing_trouble_is_not_remembered(account: AccountOf) -> None:
    """The next report asks again."""
    world = account({"ml-a": error("ThrottlingException")})
    assert world.failure("ml-a") == ("ThrottlingException", True)
    world.replies["ml-a"] = described("ml-a")
    assert world.name("ml-a") == "ml-a"


def test_cluster_that_may_be_looked_at_later_is_found_then(account: AccountOf) -> None:
    """A denial goes away when the cluster is tagged: only its orchestrator never changes."""
    world = account({"ml-b": error("AccessDeniedException", "no tag", 403)})
    assert world.failure("eks-b") == ("ResourceNotFound", False)
    world.replies["ml-b"] = described("ml-b", "eks-b")
    world.now += timedelta(seconds=30)
    assert world.name("eks-b") == "ml-b"


@pytest.mark.parametrize(
    "no", [NO_SUCH, error("ValidationException", "pattern"), error("AccessDeniedException", "no tag", 403)]
)
def test_name_that_is_nobodys_fails_in_the_words_of_the_first_answer(account: AccountOf, no: Reply) -> None:
    """What SageMaker said of the reported name is what people get."""
    world = account({"ml-b": described("ml-b", "eks-b"), "odd": no})
    code, passing = world.failure("odd")
    assert (error(code, no[1]["message"], no[0]), passing) == (no, False)  # type: ignore[index,call-overload]


def test_clusters_that_may_not_be_looked_at_are_passed_over(account: AccountOf) -> None:
    """With cluster_tag, IAM denies the others: they are none of this system's."""
    denied = error("AccessDeniedException", "no tag", 403)
    world = account({"ml-a": denied, "ml-b": described("ml-b", "eks-b")})
    assert world.name("eks-b") == "ml-b"


@pytest.mark.parametrize("trouble", [error("ThrottlingException"), error("InternalFailure", "", 500)])
def test_passing_trouble_with_any_cluster_is_no_answer(account: AccountOf, trouble: Reply) -> None:
    """The one that cannot be looked at now may be the one that is meant; and nothing of it is remembered."""
    world = account({"ml-a": trouble, "ml-b": described("ml-b", "eks-b")})
    code, passing = world.failure("eks-b")
    assert (code, passing) == (trouble[1]["__type"], True)  # type: ignore[index,call-overload]
    world.replies["ml-a"] = described("ml-a")
    assert world.name("eks-b") == "ml-b"


@pytest.mark.parametrize("trouble", [error("ThrottlingException"), error("InternalFailure", "", 500)])
def test_passing_trouble_with_the_name_itself_lists_nothing(account: AccountOf, trouble: Reply) -> None:
    """Whether it is a HyperPod name is not known, so it is not taken for an EKS name."""
    world = account({"ml-a": trouble, "ml-b": described("ml-b", "ml-a")})
    assert world.failure("ml-a")[1]
    assert world.asked == ["ml-a"]


def test_listing_that_fails_is_the_reports_failure(account: AccountOf) -> None:
    """Denied is a no; throttled is tried again."""
    denied = account({}, listed=error("AccessDeniedException", "not allowed", 403))
    assert denied.failure("eks-b") == ("AccessDeniedException", False)
    assert account({}, listed=error("ThrottlingException")).failure("eks-b") == ("ThrottlingException", True)


def test_lost_connection_is_passing(account: AccountOf) -> None:
    """A look-up changes nothing, so a lost answer is only a reason to ask again."""
    with pytest.raises(LookupFailedError) as raised:
        account({"ml-a": ReadTimeoutError(endpoint_url="x")}).name("ml-a")
    assert raised.value.error.meaning is Meaning.UNKNOWN
    assert raised.value.error.passing


def group(name: str, count: int | None, node_type: str | None = None) -> Body:
    slurm = {"SlurmConfig": {"NodeType": node_type}} if node_type else {}
    return {"InstanceGroupName": name} | ({} if count is None else {"CurrentCount": count}) | slurm


def cluster(*groups: Body, restricted: tuple[Body, ...] = (), **more: Any) -> Reply:
    body: Body = {"ClusterName": "ml-a", "ClusterArn": "arn:aws:sagemaker:us-west-2:111122223333:cluster/id-of-ml-a"}
    return 200, body | {"InstanceGroups": list(groups), "RestrictedInstanceGroups": list(restricted)} | more


def listed(node: str | None, of: str, logical: str | None = None) -> Body:
    """A node as ListClusterNodes shows it."""
    ids = ({"InstanceId": node} if node else {}) | ({"NodeLogicalId": logical} if logical else {})
    status = {"InstanceStatus": {"Status": "Running"}, "LaunchTime": 0, "InstanceType": "ml.p5.48xlarge"}
    return {"InstanceGroupName": of, **ids, **status}


def test_size_is_what_is_there_in_all_groups(account: AccountOf) -> None:
    """CurrentCount over both kinds of group; one without a count has no nodes yet."""
    world = account({"ml-a": cluster(group("a", 90), group("b", None), restricted=(group("r", 10),))})
    assert world.facts() == Facts(nodes=100, recovers_by_itself=True, protected=frozenset())


@pytest.mark.parametrize("groups", [{}, {"InstanceGroups": None, "RestrictedInstanceGroups": None}])
def test_cluster_without_groups_has_no_nodes(account: AccountOf, groups: dict[str, Any]) -> None:
    """A cluster that is only being made."""
    assert account({"ml-a": (200, {"ClusterName": "ml-a", **groups})}).facts().nodes == 0


@pytest.mark.parametrize(
    ("recovery", "itself"),
    [
        ({}, True),
        ({"NodeRecovery": None}, True),
        ({"NodeRecovery": "Automatic"}, True),
        ({"NodeRecovery": "None"}, False),
    ],
)
def test_recovery_that_is_not_said_is_automatic(account: AccountOf, recovery: dict[str, Any], itself: bool) -> None:
    """Automatic is HyperPod's own default, and only None leaves nodes to this system."""
    assert account({"ml-a": cluster(**recovery)}).facts().recovers_by_itself is itself


def test_recovery_that_is_new_is_not_taken_for_automatic(account: AccountOf) -> None:
    """Only what is known to repair is left to it."""
    assert not account({"ml-a": cluster(NodeRecovery="Sometimes")}).facts().recovers_by_itself


def test_nothing_protected_lists_no_nodes(account: AccountOf) -> None:
    """One question for a cluster of workers."""
    world = account(
        {"ml-a": cluster(group("workers", 3), group("compute", 2, "Compute"))}, protected_groups=("*controller*",)
    )
    assert world.facts().protected == frozenset()
    assert world.asked == ["ml-a"]


@pytest.mark.parametrize(
    ("guarded", "patterns"),
    [
        (group("first", 1, "Controller"), ()),
        (group("first", 1, "Login"), ()),
        (group("my-controller-1", 1), ("*login*", "*controller*")),
        (group("exact", 1), ("exact",)),
        (group("Slurm-Controller", 1), ("*controller*",)),
        (group("head", 1), ("*HEAD*",)),
    ],
)
def test_nodes_of_protected_groups_are_known_by_both_ids(
    account: AccountOf, guarded: Body, patterns: tuple[str, ...]
) -> None:
    """By Slurm's type or by a pattern of the settings; other groups are not even listed."""
    name = guarded["InstanceGroupName"]
    world = account(
        {"ml-a": cluster(group("workers", 3, "Compute"), guarded)},
        protected_groups=patterns,
        nodes=lambda _: (200, {"ClusterNodeSummaries": [listed("i-1", name, "logical-1"), listed(None, name, "l-2")]}),
    )
    assert world.facts().protected == {"i-1", "logical-1", "l-2"}
    assert world.asked == ["ml-a", f"nodes of {name}"]


@pytest.mark.parametrize("name", ["controllers", "a-exact", "exact-a"])
def test_pattern_fits_the_whole_name(account: AccountOf, name: str) -> None:
    """A pattern without * is a name."""
    world = account({"ml-a": cluster(group(name, 1))}, protected_groups=("controller", "exact"))
    assert world.facts().protected == frozenset()


def test_groups_whose_names_only_contain_a_protected_one_are_not_protected(account: AccountOf) -> None:
    """ListClusterNodes filters by a part of the name."""
    world = account(
        {"ml-a": cluster(group("head", 1), group("head-workers", 9))},
        protected_groups=("head",),
        nodes=lambda _: (200, {"ClusterNodeSummaries": [listed("i-1", "head"), listed("i-2", "head-workers")]}),
    )
    assert world.facts().protected == {"i-1"}


def test_protected_nodes_are_listed_over_all_pages(account: AccountOf) -> None:
    """The request names cluster and group and asks for logical IDs on each page."""
    sent: list[Body] = []

    def nodes(body: Body) -> Reply:
        sent.append(body)
        page = {"ClusterNodeSummaries": [listed(f"i-{len(sent)}", "login")]}
        return 200, page | ({"NextToken": f"page-{len(sent)}"} if len(sent) < 3 else {})

    world = account({"ml-a": cluster(group("login", 3, "Login"))}, nodes=nodes)
    assert world.facts().protected == {"i-1", "i-2", "i-3"}
    asked = {"ClusterName": "ml-a", "InstanceGroupNameContains": "login", "IncludeNodeLogicalIds": True}
    assert sent == [asked, asked | {"NextToken": "page-1"}, asked | {"NextToken": "page-2"}]


@pytest.mark.parametrize(
    ("trouble", "passing"),
    [(error("ThrottlingException"), True), (error("AccessDeniedException", "no", 403), False)],
)
def test_protected_nodes_that_cannot_be_listed_are_no_facts(account: AccountOf, trouble: Reply, passing: bool) -> None:
    """Not knowing which nodes are protected, none is rebooted; the next report asks again."""
    replies = {"ml-a": cluster(group("login", 1, "Login"))}
    world = account(replies, nodes=lambda _: trouble)
    with pytest.raises(LookupFailedError) as raised:
        world.facts()
    assert raised.value.error.passing is passing
    world.nodes = lambda _: (200, {"ClusterNodeSummaries": [listed("i-1", "login")]})
    assert world.facts().protected == {"i-1"}


def test_cluster_that_cannot_be_described_has_no_facts(account: AccountOf) -> None:
    """Throttled, denied or gone: none of them is a cluster of no nodes."""
    for reply in (error("ThrottlingException"), error("AccessDeniedException", "", 403), NO_SUCH):
        with pytest.raises(LookupFailedError):
            account({"ml-a": reply}).facts()


def test_facts_are_remembered_for_five_minutes(account: AccountOf) -> None:
    """A cluster that shrinks has its new budget soon."""
    replies = {"ml-a": cluster(group("login", 9, "Login"))}
    world = account(replies, nodes=lambda _: (200, {"ClusterNodeSummaries": []}))
    assert world.facts().nodes == 9
    replies["ml-a"] = cluster(group("a", 5))
    world.now += timedelta(minutes=4, seconds=59)
    assert world.facts().nodes == 9
    assert world.asked == ["ml-a", "nodes of login"]
    world.now += timedelta(seconds=1)
    assert world.facts().nodes == 5


def node_details(**details: Any) -> Reply:
    return 200, {"NodeDetails": {"InstanceGroupName": "a", **details}}


def test_logical_id_leads_to_its_instance_and_is_remembered(account: AccountOf) -> None:
    """Per cluster, for five minutes: then another instance may be behind it."""
    world = account({}, details=lambda body: node_details(InstanceId=f"i-of-{body['ClusterName']}"))
    assert [world.instance("l-1"), world.instance("l-1"), world.instance("l-1", "ml-b")] == [
        "i-of-ml-a",
        "i-of-ml-a",
        "i-of-ml-b",
    ]
    assert world.asked == ["node l-1", "node l-1"]
    world.now += timedelta(minutes=5)
    world.details = lambda _: node_details(InstanceId="i-new")
    assert world.instance("l-1") == "i-new"


@pytest.mark.parametrize(
    "reply", [node_details(), error("ResourceNotFound", "no node"), error("ValidationException", "no such kind of ID")]
)
def test_logical_id_without_instance_is_none_and_asked_again(account: AccountOf, reply: Reply) -> None:
    """The reboot call has the last word about the ID, and an instance may appear any time."""
    world = account({}, details=lambda _: reply)
    assert world.instance("l-1") is None
    world.details = lambda _: node_details(InstanceId="i-1")
    assert world.instance("l-1") == "i-1"


@pytest.mark.parametrize(
    ("trouble", "passing"),
    [
        (error("ThrottlingException"), True),
        (error("InternalFailure", "", 500), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (error("AccessDeniedException", "no", 403), False),
    ],
)
def test_instance_that_cannot_be_found_out_is_no_answer(account: AccountOf, trouble: Reply, passing: bool) -> None:
    """Without it a node could be rebooted once under each of its IDs."""
    with pytest.raises(LookupFailedError) as raised:
        account({}, details=lambda _: trouble).instance("l-1")
    assert raised.value.error.passing is passing


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"Status": "Running"}, NodeState("Running")),
        ({"Status": "Failure", "Message": "no lights"}, NodeState("Failure", "no lights")),
        ({"Status": "SomethingNew", "Message": None}, NodeState("SomethingNew")),
        ({}, NodeState("unknown")),
        (None, NodeState("unknown")),
        ({"Status": "NotFound"}, None),
    ],
)
def test_node_has_a_state_unless_it_is_not_found(
    account: AccountOf, status: dict[str, str] | None, state: NodeState | None
) -> None:
    """Status and message as they are; a status that nobody has told of is none to guess about."""
    assert account({}, details=lambda _: node_details(InstanceStatus=status)).node() == state


def test_node_that_the_cluster_does_not_know_is_gone(account: AccountOf) -> None:
    """DescribeClusterNode's documented error; the cluster itself may be gone with it."""
    assert account({}, details=lambda _: error("ResourceNotFound", "no node")).node() is None


def test_nodes_state_is_asked_for_each_time_by_the_kind_of_its_id(account: AccountOf) -> None:
    """What it was a minute ago says nothing; an ID goes into the field that is its own."""
    bodies: list[Body] = []
    states = iter(["Pending", "Running"])

    def details(body: Body) -> Reply:
        bodies.append(body)
        return node_details(InstanceStatus={"Status": next(states)})

    world = account({}, details=details)
    assert (world.node(), world.node("group-1", IdKind.LOGICAL_ID)) == (NodeState("Pending"), NodeState("Running"))
    assert bodies == [
        {"ClusterName": "ml-a", "NodeId": "i-1"},
        {"ClusterName": "ml-a", "NodeLogicalId": "group-1"},
    ]


@pytest.mark.parametrize(
    ("trouble", "passing"),
    [
        (error("ThrottlingException"), True),
        (error("InternalFailure", "", 500), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (error("AccessDeniedException", "no", 403), False),
        (error("ValidationException", "odd ID"), False),
    ],
)
def test_node_that_cannot_be_looked_at_is_not_gone(account: AccountOf, trouble: Reply, passing: bool) -> None:
    """Or a node that is ill would be taken for one that was replaced."""
    with pytest.raises(LookupFailedError) as raised:
        account({}, details=lambda _: trouble).node()
    assert raised.value.error.passing is passing
