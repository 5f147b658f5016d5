"""Finding the HyperPod cluster that a name means, over a real client with injected answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from node_remediation.awserrors import Meaning
from node_remediation.cluster import SageMakerClusters
from node_remediation.lookup import LookupFailedError
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
    asked: list[str] = field(default_factory=list)
    clusters: SageMakerClusters = field(init=False)

    def __post_init__(self) -> None:
        self.clusters = SageMakerClusters(self.client, clock=lambda: self.now)

    def reply(self, body: Body) -> Reply:
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
