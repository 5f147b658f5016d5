"""Names, clusters and nodes as SageMaker knows them, over a real client with injected answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from node_remediation.aws.errors import CallError, LookupFailedError, Meaning
from node_remediation.aws.hyperpod import SageMakerHyperPod
from node_remediation.model import ClusterFacts, IdKind, Node, NodeFacts
from node_remediation.policy.record import GONE
from node_remediation.settings import Settings
from tests.unit.wire import Body, Reply, error, wired

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
NO_SUCH = error("ResourceNotFound", "Cluster not found")
DENIED = error("AccessDeniedException", "no tag", 403)
ARN = "arn:aws:sagemaker:us-west-2:111122223333:cluster/abcdefghij12"
INSTANCE = Node(IdKind.NODE_ID, "i-00000000000000001")
LOGICAL = Node(IdKind.LOGICAL_ID, "group-1")


def cluster(*groups: Body, restricted: tuple[Body, ...] = (), name: str = "ml-a", **more: Any) -> Reply:
    body: Body = {"ClusterName": name, "ClusterArn": arn_of(name), "InstanceGroups": list(groups)}
    return 200, body | {"RestrictedInstanceGroups": list(restricted)} | more


def arn_of(name: str) -> str:
    return f"arn:aws:sagemaker:us-west-2:111122223333:cluster/id-of-{name}"


def described(name: str, eks: str | None = None) -> Reply:
    orchestrator = (
        {"Eks": {"ClusterArn": f"arn:aws:eks:us-west-2:111122223333:cluster/{eks}"}} if eks else {"Slurm": {}}
    )
    return cluster(name=name, Orchestrator=orchestrator)


def group(name: str | None, count: Any, node_type: str | None = None) -> Body:
    slurm = {"SlurmConfig": {"NodeType": node_type}} if node_type else {}
    return ({"InstanceGroupName": name} if name else {}) | ({} if count is None else {"CurrentCount": count}) | slurm


@dataclass
class Account:
    """An account's clusters, by DescribeCluster's reply to each name; `nodes` answers for nodes."""

    client: Any
    replies: dict[str, Reply] = field(default_factory=dict)
    listed: Reply | None = None
    nodes: Callable[[Body], Reply] = lambda _: error("NotScripted")
    protected_groups: tuple[str, ...] = ()
    now: datetime = NOW
    calls_left: int = 1_000
    seconds_per_call: float = 0
    asked: list[str] = field(default_factory=list)
    sent: list[Body] = field(default_factory=list)
    hyperpod: SageMakerHyperPod = field(init=False)

    def __post_init__(self) -> None:
        self.hyperpod = SageMakerHyperPod(
            self.client,
            protects=Settings(protected_instance_groups=self.protected_groups).protects,
            clock=lambda: self.now,
            sleep=lambda _: None,
        )

    def reply(self, body: Body) -> Reply:
        self.sent.append(body)
        self.calls_left -= 1
        if {"NodeId", "NodeLogicalId", "IncludeNodeLogicalIds"} & set(body):
            return self.nodes(body)
        if "ClusterName" in body:
            self.asked.append(body["ClusterName"])
            return self.replies.get(body["ClusterName"], NO_SUCH)
        self.asked.append("list")
        names = sorted(self.replies)
        page = names[1:] if body.get("NextToken") else names[:1]
        summaries = [{"ClusterName": name, "ClusterArn": arn_of(name)} for name in page]
        more = {} if body.get("NextToken") else {"NextToken": "more"}
        return self.listed or (200, {"ClusterSummaries": summaries, **more})

    def may_call(self) -> bool:
        return self.calls_left > 0

    def name(self, given: str) -> str:
        with wired(self.client, self.reply):
            return self.hyperpod.name(given, may_call=self.may_call)

    def cluster(self, name: str = "ml-a") -> ClusterFacts:
        with wired(self.client, self.reply):
            return self.hyperpod.cluster(name)

    def node(self, node: Node = INSTANCE) -> NodeFacts:
        with wired(self.client, self.reply):
            return self.hyperpod.node("ml-a", node)

    def all_nodes(self) -> list[NodeFacts]:
        with wired(self.client, self.reply):
            return self.hyperpod.nodes("ml-a", may_call=self.may_call)

    def failure(self, given: str) -> CallError:
        with pytest.raises(LookupFailedError) as raised:
            self.name(given)
        return raised.value.error


AccountOf = Callable[..., Account]


@pytest.fixture(scope="module")
def account(make_client: Callable[..., Any]) -> AccountOf:
    client = make_client("sagemaker")
    return lambda *replies, **more: Account(client, *replies, **more)


# -- names


def test_hyperpod_name_is_itself(account: AccountOf) -> None:
    """One call, and the account's clusters are not listed."""
    world = account({"ml-a": described("ml-a", "eks-a")})
    assert world.name("ml-a") == "ml-a"
    assert world.asked == ["ml-a"]


def test_arn_becomes_the_clusters_name(account: AccountOf) -> None:
    """Or the node would have a cooldown, and the cluster a budget, under each of the two."""
    world = account({ARN: described("ml-a")})
    assert world.name(ARN) == "ml-a"
    world.replies["ml-a"] = error("NotAsked")
    assert world.cluster("ml-a").automatic


def test_arn_that_the_api_does_not_take_is_found_in_the_list(account: AccountOf) -> None:
    """The documented sample events carry ARNs that do not fit its pattern."""
    world = account({"ml-b": described("ml-b"), arn_of("ml-b"): error("ValidationException", "pattern")})
    assert world.name(arn_of("ml-b")) == "ml-b"


@pytest.mark.parametrize("given", ["eks-b", "arn:aws:eks:us-west-2:111122223333:cluster/eks-b"])
def test_eks_cluster_leads_to_its_hyperpod_cluster(account: AccountOf, given: str) -> None:
    """The name is no HyperPod cluster's, so each cluster is asked for its EKS cluster, over all pages."""
    world = account({"ml-a": described("ml-a"), "ml-b": described("ml-b", "eks-b")})
    assert world.name(given) == "ml-b"
    assert world.asked == [given, "list", "ml-a", "list", "ml-b"]


def test_hyperpod_name_wins_over_an_eks_cluster_of_the_same_name(account: AccountOf) -> None:
    """Both may exist; the API is called with HyperPod names."""
    world = account({"ml-a": described("ml-a"), "ml-b": described("ml-b", "ml-a")})
    assert world.name("ml-a") == "ml-a"


def test_names_are_remembered_for_five_minutes(account: AccountOf) -> None:
    """A storm of alarms of one cluster asks once; later it is asked again, except for what never changes."""
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
    assert world.failure("ml-a") == CallError(Meaning.REJECTED, "ResourceNotFound", "Cluster not found")
    asked = len(world.asked)
    world.replies["ml-a"] = described("ml-a")
    world.now += timedelta(seconds=29)
    assert world.failure("ml-a").code == "ResourceNotFound"
    assert len(world.asked) == asked
    world.now += timedelta(seconds=1)
    assert world.name("ml-a") == "ml-a"


def test_passing_trouble_is_not_remembered(account: AccountOf) -> None:
    """The next report asks again."""
    world = account({"ml-a": error("ThrottlingException")})
    assert world.failure("ml-a").passing
    world.replies["ml-a"] = described("ml-a")
    assert world.name("ml-a") == "ml-a"


def test_cluster_that_is_tagged_later_is_found_then(account: AccountOf) -> None:
    """With cluster_tag, IAM denies the others: they are passed over, and asked again."""
    world = account({"ml-a": DENIED, "ml-b": DENIED})
    assert world.failure("eks-b").code == "ResourceNotFound"
    world.replies["ml-b"] = described("ml-b", "eks-b")
    world.now += timedelta(seconds=30)
    assert world.name("eks-b") == "ml-b"


@pytest.mark.parametrize("no", [NO_SUCH, error("ValidationException", "pattern"), DENIED])
def test_name_of_no_cluster_fails_with_the_first_answer(account: AccountOf, no: Reply) -> None:
    """People get what SageMaker said of the reported name."""
    world = account({"ml-b": described("ml-b", "eks-b"), "odd": no})
    failure = world.failure("odd")
    assert error(failure.code, failure.message)[1] == no[1]  # type: ignore[index]
    assert not failure.passing


@pytest.mark.parametrize("trouble", [error("ThrottlingException"), error("InternalFailure", "", 500)])
def test_passing_trouble_with_any_cluster_is_no_answer(account: AccountOf, trouble: Reply) -> None:
    """The cluster that cannot be looked at now may be the one that is meant."""
    world = account({"ml-a": trouble, "ml-b": described("ml-b", "eks-b")})
    assert world.failure("eks-b").passing
    world.replies["ml-a"] = described("ml-a")
    assert world.name("eks-b") == "ml-b"


def test_error_that_says_nothing_about_the_name_is_not_looked_behind(account: AccountOf) -> None:
    """The clusters are not listed."""
    world = account({"ml-a": error("SomethingElse")})
    assert world.failure("ml-a").code == "SomethingElse"
    assert world.asked == ["ml-a"]


@pytest.mark.parametrize(("reply", "passing"), [(DENIED, False), (error("ThrottlingException"), True)])
def test_listing_that_fails_is_the_look_ups_failure(account: AccountOf, reply: Reply, *, passing: bool) -> None:
    """Denied is final; throttled is asked again."""
    assert account({}, listed=reply).failure("eks-b").passing is passing


def test_search_through_many_clusters_stops_in_time_and_goes_on_later(account: AccountOf) -> None:
    """Sixty clusters at a second each would take the whole invocation; each later one has fewer to ask."""
    clusters = {f"ml-{number:02d}": described(f"ml-{number:02d}", f"eks-{number:02d}") for number in range(60)}
    world = account(clusters, calls_left=25)
    assert world.failure("eks-59") == CallError(
        Meaning.NOT_SENT, "DeadlineExceeded", "the function ran out of time before the call"
    )
    assert len(world.sent) == 25
    world.now += timedelta(minutes=10)
    world.calls_left = 45
    assert world.name("eks-59") == "ml-59"


def test_without_time_nothing_is_asked_that_is_not_remembered(account: AccountOf) -> None:
    """What is remembered costs none."""
    world = account({"ml-a": described("ml-a")})
    world.name("ml-a")
    world.calls_left = 0
    assert world.name("ml-a") == "ml-a"
    assert world.failure("ml-b").code == "DeadlineExceeded"
    assert world.asked == ["ml-a"]


# -- clusters


def test_size_is_the_current_count_of_all_groups(account: AccountOf) -> None:
    """Both kinds of group; one without a count has no nodes yet."""
    world = account({"ml-a": cluster(group("a", 90), group("b", None), restricted=(group("r", 10),))})
    assert world.cluster() == ClusterFacts(nodes=100, automatic=True, eks=False)


@pytest.mark.parametrize(
    ("recovery", "automatic"),
    [
        ({}, True),
        ({"NodeRecovery": None}, True),
        ({"NodeRecovery": "Automatic"}, True),
        ({"NodeRecovery": "None"}, False),
        ({"NodeRecovery": "Sometimes"}, False),
    ],
)
def test_recovery_that_is_not_given_is_automatic(account: AccountOf, recovery: Body, *, automatic: bool) -> None:
    """That is HyperPod's default; only what is known to repair is left to it."""
    assert account({"ml-a": cluster(**recovery)}).cluster().automatic is automatic


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
def test_protected_groups_are_known_by_type_or_name(
    account: AccountOf, guarded: Body, patterns: tuple[str, ...]
) -> None:
    """By Slurm's type, or by a pattern, whatever the case."""
    world = account({"ml-a": cluster(group("workers", 3, "Compute"), guarded)}, protected_groups=patterns)
    assert world.cluster().protected_groups == {guarded["InstanceGroupName"]}


def test_restricted_group_is_protected_by_its_name(account: AccountOf) -> None:
    """They have no Slurm type."""
    world = account({"ml-a": cluster(restricted=(group("login", 1),))}, protected_groups=("login",))
    assert world.cluster().protected_groups == {"login"}


@pytest.mark.parametrize("name", ["controllers", "a-exact", "exact-a"])
def test_pattern_fits_the_whole_name(account: AccountOf, name: str) -> None:
    """A pattern without * is a name."""
    world = account({"ml-a": cluster(group(name, 1))}, protected_groups=("controller", "exact"))
    assert world.cluster().protected_groups == frozenset()


@pytest.mark.parametrize(
    "groups",
    [
        [group(None, 3), None],
        [group("a", 3) | {"InstanceGroupName": None, "SlurmConfig": None}],
        [group("a", 3), group("b", "many")],
        [group("a", 3) | {"SlurmConfig": {"NodeType": None}}],
    ],
)
def test_odd_instance_groups_do_no_harm(account: AccountOf, groups: list[Any]) -> None:
    """One without a name once made a whole batch come again."""
    world = account({"ml-a": cluster(InstanceGroups=groups)}, protected_groups=("*controller*",))
    assert world.cluster() == ClusterFacts(nodes=3, automatic=True, eks=False)


def test_controllers_group_without_a_name_is_protected_all_the_same(account: AccountOf) -> None:
    """The cluster has a protected group then, so that its nodes are looked up."""
    assert account({"ml-a": cluster(group(None, 1, "Controller"))}).cluster().protected_groups == {""}


@pytest.mark.parametrize("groups", [{}, {"InstanceGroups": None, "RestrictedInstanceGroups": None}])
def test_cluster_without_groups_has_no_nodes(account: AccountOf, groups: Body) -> None:
    """A cluster that is only being made."""
    assert account({"ml-a": (200, {"ClusterName": "ml-a", **groups})}).cluster().nodes == 0


@pytest.mark.parametrize("reply", [error("ThrottlingException"), DENIED, NO_SUCH, (200, {}), (200, b'{"ClusterNa')])
def test_cluster_that_cannot_be_described_has_no_facts(account: AccountOf, reply: Reply) -> None:
    """Throttled, denied, gone or half an answer: none of them is a cluster of no nodes."""
    with pytest.raises(LookupFailedError):
        account({"ml-a": reply}).cluster()


def test_clusters_are_remembered_for_five_minutes(account: AccountOf) -> None:
    """A cluster that shrinks has its new budget soon."""
    replies = {"ml-a": cluster(group("a", 9))}
    world = account(replies)
    assert world.cluster().nodes == 9
    replies["ml-a"] = cluster(group("a", 5))
    world.now += timedelta(minutes=4, seconds=59)
    assert world.cluster().nodes == 9
    world.now += timedelta(seconds=1)
    assert world.cluster().nodes == 5


# -- nodes


def details(**of_node: Any) -> Body:
    return {"InstanceGroupName": "a", "InstanceId": "i-1", "NodeLogicalId": "l-1"} | of_node


def test_node_is_asked_for_each_time_by_the_kind_of_its_id(account: AccountOf) -> None:
    """Its state a minute ago says nothing, and another instance may be behind a logical ID."""
    states = iter(["Pending", "Running"])
    world = account(nodes=lambda _: (200, {"NodeDetails": details(InstanceStatus={"Status": next(states)})}))
    assert world.node() == NodeFacts("i-1", "l-1", "a", "Pending")
    assert world.node(LOGICAL) == NodeFacts("i-1", "l-1", "a", "Running")
    assert world.sent == [
        {"ClusterName": "ml-a", "NodeId": INSTANCE.id},
        {"ClusterName": "ml-a", "NodeLogicalId": LOGICAL.id},
    ]


@pytest.mark.parametrize(
    ("status", "facts"),
    [
        ({"Status": "Failure", "Message": "no lights"}, NodeFacts("i-1", "l-1", "a", "Failure", "no lights")),
        ({"Status": "SomethingNew", "Message": None}, NodeFacts("i-1", "l-1", "a", "SomethingNew")),
        ({}, NodeFacts("i-1", "l-1", "a", "unknown")),
        (None, NodeFacts("i-1", "l-1", "a", "unknown")),
        ({"Status": "NotFound"}, GONE),
    ],
)
def test_node_has_its_status_unless_it_is_not_found(account: AccountOf, status: Body | None, facts: NodeFacts) -> None:
    """Status and message as they are; nothing is guessed from a status that is new."""
    world = account(nodes=lambda _: (200, {"NodeDetails": details(InstanceStatus=status)}))
    assert world.node() == facts


@pytest.mark.parametrize(
    ("node", "no"),
    [
        (INSTANCE, error("ResourceNotFound", "no node")),
        (LOGICAL, error("ResourceNotFound", "no node")),
        (Node(IdKind.NODE_ID, "rack 7"), error("ValidationException", "pattern")),
        (Node(IdKind.LOGICAL_ID, "a_b"), error("ValidationException", "pattern")),
        (INSTANCE, error("ValidationException", "no such node")),
        (LOGICAL, error("ValidationException", "only for Continuous clusters")),
    ],
)
def test_node_that_cannot_be_described_and_is_not_listed_is_gone(account: AccountOf, node: Node, no: Reply) -> None:
    """Which error says so is not documented; the list, which has all nodes, decides. An odd ID is in no list."""
    other = {"InstanceId": "i-2", "NodeLogicalId": "l-2"}
    lists: list[Body] = []

    def nodes(body: Body) -> Reply:
        if "IncludeNodeLogicalIds" not in body:
            return no
        lists.append(body)
        return 200, {"ClusterNodeSummaries": [other]}

    assert account(nodes=nodes).node(node) == GONE
    assert len(lists) == node.well_formed


@pytest.mark.parametrize("code", ["ResourceNotFound", "ValidationException"])
@pytest.mark.parametrize("node", [INSTANCE, LOGICAL])
def test_node_that_cannot_be_described_but_is_listed_is_there(account: AccountOf, node: Node, code: str) -> None:
    """DescribeClusterNode may lag behind a node that has just started."""
    listed = details(InstanceId=INSTANCE.id, NodeLogicalId=LOGICAL.id)

    def nodes(body: Body) -> Reply:
        return (200, {"ClusterNodeSummaries": [listed]}) if "IncludeNodeLogicalIds" in body else error(code, "no")

    assert account(nodes=nodes).node(node).instance_id == INSTANCE.id


def test_list_is_read_only_while_there_is_time(account: AccountOf) -> None:
    """A large cluster has many pages, and the batch has other nodes."""
    world = account(nodes=lambda _: error("ResourceNotFound"))
    with wired(world.client, world.reply), pytest.raises(LookupFailedError, match="DeadlineExceeded"):
        world.hyperpod.node("ml-a", INSTANCE, may_call=lambda: False)


def test_node_of_a_cluster_that_is_gone_is_gone(account: AccountOf) -> None:
    """Its nodes cannot be listed any more."""
    assert account(nodes=lambda _: NO_SUCH).node(INSTANCE) == GONE


def test_node_is_not_gone_while_the_list_cannot_be_had(account: AccountOf) -> None:
    """Or a node that is ill would be taken for one that was replaced."""

    def nodes(body: Body) -> Reply:
        return error("ThrottlingException" if "IncludeNodeLogicalIds" in body else "ResourceNotFound")

    with pytest.raises(LookupFailedError):
        account(nodes=nodes).node(INSTANCE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            (200, {"EventDetails": {"EventDetails": {"EventMetadata": {"Instance": {"FailureMessage": "Xid 79"}}}}}),
            "Xid 79",
        ),
        ((200, {"EventDetails": {"EventDetails": {"EventMetadata": {"Instance": {}}}}}), None),
        ((200, {"EventDetails": {}}), None),
        (NO_SUCH, None),
        (error("ThrottlingException"), None),
    ],
)
def test_failure_message_of_a_cluster_event_is_told_where_it_can_be_had(
    account: AccountOf, reply: Reply, message: str | None
) -> None:
    """It is for people to read: nothing fails without it."""
    world = account(replies={"ml-a": reply})
    with wired(world.client, world.reply):
        assert world.hyperpod.failure_message("ml-a", "e-1") == message
    assert world.sent == [{"ClusterName": "ml-a", "EventId": "e-1"}]


@pytest.mark.parametrize(
    ("trouble", "passing"),
    [
        (error("ThrottlingException"), True),
        (error("InternalFailure", "", 500), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        ((200, {}), True),
        ((200, b'{"NodeDet'), True),
        (DENIED, False),
    ],
)
def test_node_that_cannot_be_looked_at_is_not_gone(account: AccountOf, trouble: Reply, *, passing: bool) -> None:
    """Or a node that is ill would be taken for one that was replaced."""
    for node in (INSTANCE, LOGICAL):
        with pytest.raises(LookupFailedError) as raised:
            account(nodes=lambda _: trouble).node(node)
        assert raised.value.error.passing is passing


def test_all_nodes_are_listed_over_all_pages_with_their_logical_ids(account: AccountOf) -> None:
    """A hundred a page; one that is listed as not found is not there."""

    def nodes(body: Body) -> Reply:
        page = int(body.get("NextToken", "0"))
        status = {"Status": "NotFound" if page == 1 else "Running"}
        summary = details(InstanceId=f"i-{page}", InstanceStatus=status)
        return 200, {"ClusterNodeSummaries": [summary, None]} | ({"NextToken": str(page + 1)} if page < 2 else {})

    world = account(nodes=nodes)
    assert world.all_nodes() == [NodeFacts(f"i-{page}", "l-1", "a", "Running") for page in (0, 2)]
    asked = {"ClusterName": "ml-a", "IncludeNodeLogicalIds": True, "MaxResults": 100}
    assert world.sent == [asked, asked | {"NextToken": "1"}, asked | {"NextToken": "2"}]


@pytest.mark.parametrize("second", [error("ThrottlingException"), (200, {}), (200, b'{"ClusterNo')])
def test_list_without_all_its_pages_is_no_list(account: AccountOf, second: Reply) -> None:
    """A node that is on no page is gone: half a list would make the other half gone."""
    first = (200, {"ClusterNodeSummaries": [details()], "NextToken": "1"})
    world = account(nodes=lambda body: second if "NextToken" in body else first)
    with pytest.raises(LookupFailedError):
        world.all_nodes()


def test_list_that_there_is_no_time_for_is_no_list(account: AccountOf) -> None:
    """It stops between two pages."""
    world = account(nodes=lambda _: (200, {"ClusterNodeSummaries": [], "NextToken": "1"}), calls_left=2)
    with pytest.raises(LookupFailedError) as raised:
        world.all_nodes()
    assert raised.value.error.code == "DeadlineExceeded"
    assert len(world.sent) == 2
