"""VolumeBackupPolicy: backups of many volumes by a schedule, and which of them are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from cinderbank.api.v1alpha1.conditions import WAITING
from cinderbank.api.v1alpha1.duration import Duration, parse_duration
from cinderbank.api.v1alpha1.model import ApiModel, Ruled, VolumeUUID, exactly_one, rule
from cinderbank.api.v1alpha1.policy_group import VolumeGroup
from cinderbank.api.v1alpha1.policy_proofs import PolicyDrill, PolicyVerify
from cinderbank.api.v1alpha1.policy_status import VolumeBackupPolicyStatus
from cinderbank.api.v1alpha1.resource import AGE, MESSAGE, Column, Resource
from cinderbank.api.v1alpha1.volume_backup import VolumeBackupSpec
from cinderbank.domain.errors import InvalidSpec
from cinderbank.domain.facts import VolumeId
from cinderbank.domain.policy import retention as rules_of_retention
from cinderbank.domain.policy.children import is_foreign_label
from cinderbank.domain.policy.retention import Why
from cinderbank.domain.policy.runs import Concurrency, RunRules
from cinderbank.domain.policy.schedule import jitter_of, read_timetable
from cinderbank.domain.policy.selection import Pattern, Selector
from cinderbank.domain.policy.verify import VerifyRules

Keep = Annotated[int, Field(ge=0, le=10_000)] | None
Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)]

OF_EACH_BACKUP = ("source", "cancel", "hold")
"""Fields of a VolumeBackup that a template can not say."""


class ClaimPattern(ApiModel):
    """PersistentVolumeClaims of this namespace."""

    match_labels: Annotated[
        Labels, Ruled("self.size() > 0", "name at least one label: an empty one is a slip")
    ] = Field(description="Labels of the claim; all of them must be there.")


class VolumePattern(ApiModel):
    """Ways to name volumes of the project; a volume that any of them names is meant."""

    rules = (
        rule(
            "has(self.volumeIDs) || has(self.volumeNames) || has(self.metadata)"
            " || has(self.persistentVolumeClaims)",
            "name volumes by volumeIDs, volumeNames, metadata or persistentVolumeClaims",
        ),
    )

    volume_ids: Annotated[tuple[VolumeUUID, ...], Field(max_length=256)] = Field(
        default=(), description="Ids (UUIDs) of volumes in Cinder."
    )
    volume_names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(max_length=64)
    ] = Field(
        default=(),
        description="Names of volumes in Cinder, with * for any text, ? for one character and [ab]"
        " for one of these; upper and lower case differ.",
    )
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=255)]], Field(max_length=32)] = (
        Field(
            default_factory=dict,
            description="Metadata of the volume in Cinder; all of these entries must be there.",
        )
    )
    persistent_volume_claims: ClaimPattern | None = Field(
        default=None,
        description="Volumes behind bound PersistentVolumeClaims of this namespace (driver"
        " cinder.csi.openstack.org); at most 5000 claims are looked at, the first by name.",
    )

    def to_domain(self) -> Pattern:
        ids = frozenset(VolumeId(each.lower()) for each in self.volume_ids)
        return Pattern(ids, self.volume_names, self.metadata)


class VolumeSelector(VolumePattern):
    """Which volumes; what excludes names is left out again."""

    exclude: VolumePattern | None = Field(
        default=None, description="Volumes that are not meant, whatever else names them."
    )

    def to_selector(self) -> Selector:
        exclude = Pattern() if self.exclude is None else self.exclude.to_domain()
        return Selector(self.to_domain(), exclude)


class TemplateMetadata(ApiModel):
    """What the backups of a policy carry beside our own labels."""

    labels: Annotated[
        Labels,
        Ruled(
            # startsWith costs what the prefix is long; contains, what a key may be: over the budget
            "self.all(key, key.size() <= 317 && !key.startsWith('argocd.argoproj.io/')"
            " && !key.startsWith('kustomize.toolkit.fluxcd.io/')"
            " && !key.startsWith('helm.toolkit.fluxcd.io/') && !key.startsWith('cinderbank.io/')"
            " && key != 'app.kubernetes.io/instance')",
            "labels of Argo CD, of Flux and of cinderbank can not be given: a GitOps tool would take"
            " the backups for its own and prune them",
        ),
    ] = Field(default_factory=dict, description="Labels of each VolumeBackup.")


if TYPE_CHECKING:
    TemplateSpec = VolumeBackupSpec
else:
    TemplateSpec = create_model(
        "TemplateSpec",
        __base__=ApiModel,
        __doc__="A VolumeBackup's spec without source, cancel and hold.",
        **{
            name: (field.annotation, field)
            for name, field in VolumeBackupSpec.model_fields.items()
            if name not in OF_EACH_BACKUP
        },
    )


class Template(ApiModel):
    """What each backup is made from."""

    metadata: TemplateMetadata = Field(
        default=TemplateMetadata(), description="Labels of the backups."
    )
    spec: TemplateSpec = Field(
        description="Spec of the backups, but for source, cancel and hold. A change is for later ones."
    )

    def to_spec(self, volume_id: VolumeId) -> dict[str, Any]:
        """The spec of one child, plain JSON."""
        return {"source": {"volumeID": volume_id}, **self.spec.dump()}

    def to_labels(self) -> dict[str, str]:
        """Also of an object that came past the schema's rule."""
        return {key: v for key, v in self.metadata.labels.items() if not is_foreign_label(key)}


class Retention(ApiModel):
    """Which good copies of each volume stay. Without any keep rule all stay."""

    keep_last: Keep = Field(default=None, description="So many newest.")
    keep_hourly: Keep = Field(
        default=None,
        description="The newest of each of so many hours that have one; hours, days, weeks, months and"
        " years are those of spec.timeZone.",
    )
    keep_daily: Keep = Field(default=None, description="The newest of each of so many days.")
    keep_weekly: Keep = Field(
        default=None, description="The newest of each of so many weeks, which begin on Monday."
    )
    keep_monthly: Keep = Field(default=None, description="The newest of each of so many months.")
    keep_yearly: Keep = Field(default=None, description="The newest of each of so many years.")
    min_good: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="The newest so many good copies of a volume stay, whatever the keep rules say. Good"
        " is one that is Completed with all its copies made, that the bank itself has, and that no check"
        " found damaged.",
    )
    failed_last: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3,
        description="The newest so many failed VolumeBackups of each volume stay to be read, and the"
        " newest of all as long as no good one is newer; nothing of them is in the bank.",
    )
    max_deletes_per_run: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None,
        description="At most so many go between two runs, failed ones first, then the oldest. Left out:"
        " twice the number of volumes that have backups, at least 10.",
    )
    dry_run: bool = Field(
        default=False, description="Delete nothing; status.retention.preview says what would go."
    )

    def to_domain(self) -> rules_of_retention.Retention:
        wanted = {
            Why.LAST: self.keep_last,
            Why.HOURLY: self.keep_hourly,
            Why.DAILY: self.keep_daily,
            Why.WEEKLY: self.keep_weekly,
            Why.MONTHLY: self.keep_monthly,
            Why.YEARLY: self.keep_yearly,
        }
        return rules_of_retention.Retention(
            {why: number for why, number in wanted.items() if number is not None},
            self.min_good,
            self.failed_last,
            self.max_deletes_per_run,
        )


class VolumeBackupPolicySpec(ApiModel):
    """When, which volumes, how, and what stays; all of it may be changed at any time."""

    rules = (exactly_one("selector", "group"),)

    schedule: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="When, in cron's five fields: minute, hour, day of month, month, day of week; or"
        " @hourly, @daily, @weekly, @monthly, @yearly. docs/policies.md says what happens when the"
        " clock is put on or back."
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="Etc/UTC",
        description="Time zone of schedule and of retention, such as Europe/Paris.",
    )
    jitter: Duration | None = Field(
        default=None,
        description="Each policy runs later than its schedule by a time of its own below this, always"
        " the same one, so that many do not begin at once.",
    )
    starting_deadline: Duration | None = Field(
        default=None,
        description="A run that could not begin for so long (the operator or the cloud was away) is"
        " missed. Left out: it is made up for, however late.",
    )
    concurrency_policy: Concurrency = Field(
        default=Concurrency.FORBID,
        description="What a run does for a volume whose backup of an earlier run is still at work:"
        " Forbid leaves the volume out, Replace cancels the earlier one, Allow makes another. With 10 of"
        " them at work all three leave it out.",
    )
    suspend: bool = Field(
        default=False,
        description="While true the schedule makes no runs; these are not made up for. A trigger does.",
    )
    trigger: Annotated[str, Field(max_length=256)] | None = Field(
        default=None,
        description="Change it to any new text to run now; status.lastTrigger repeats it when the"
        " backups of that run have been made (condition BackupsMade tells of those that were refused)."
        " While nothing is selected it waits.",
    )
    selector: VolumeSelector | None = Field(
        default=None, description="Which volumes of the project; each has a snapshot of its own."
    )
    group: VolumeGroup | None = Field(
        default=None,
        description="The volumes of a Cinder group, backed up from one group snapshot. A run then lasts"
        " until its backups have ended, and concurrencyPolicy says nothing.",
    )
    max_volumes: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000,
        description="At most so many volumes are backed up: a selector that suddenly matches far more is"
        " a slip. Those with backups of this policy come first, then the first by id; condition Ready"
        " tells how many are left out. Not for spec.group, which has a bound of its own: 64.",
    )
    template: Template = Field(description="What each backup is made from.")
    retention: Retention | None = Field(
        default=None,
        description="Which backups stay. Left out: all good ones, and the newest 3 failed ones of each"
        " volume.",
    )
    drill: PolicyDrill | None = Field(
        default=None,
        description="Restore drills: about every n-th backup is restored into a scratch volume, compared"
        " and deleted there. See docs/verification.md.",
    )
    verify: PolicyVerify | None = Field(
        default=None,
        description="BankChecks of the banks that the backups and their copies go to, by a schedule.",
    )
    rpo: Duration | None = Field(
        default=None,
        description="The newest good copy of each volume, made by this policy, should be no older than"
        " this; condition RPOMet says whether that is so, also while the cloud is away.",
    )

    def to_rules(self, uid: str) -> RunRules:
        """Raises InvalidSpec (InvalidSchedule, UnknownTimeZone, ...)."""
        jitter = _duration(self.jitter, "spec.jitter") or timedelta()
        return RunRules(
            read_timetable(self.schedule, self.time_zone),
            jitter_of(uid, jitter),
            _duration(self.starting_deadline, "spec.startingDeadline"),
            self.concurrency_policy,
            self.suspend,
            self.trigger or "",
        )

    def to_verify(self, uid: str) -> VerifyRules | None:
        """Raises as `to_rules`."""
        if self.verify is None:
            return None
        jitter = _duration(self.jitter, "spec.jitter") or timedelta()
        return self.verify.to_rules(self.time_zone, jitter_of(uid, jitter))

    def rpo_or_none(self) -> timedelta | None:
        """Raises InvalidSpec."""
        return _duration(self.rpo, "spec.rpo")

    @property
    def is_retention_dry_run(self) -> bool:
        return self.retention is not None and self.retention.dry_run

    def to_retention(self) -> rules_of_retention.Retention:
        """Raises InvalidSpec (RetentionKeepsNothing) for rules that all say 0."""
        found = (self.retention or Retention()).to_domain()
        if found.would_keep_nothing:
            raise InvalidSpec(
                "spec.retention: every keep rule that is given is 0, which would delete all but"
                " minGood; nothing is deleted. Give one of them a number, or leave spec.retention out"
                " to keep everything",
                reason="RetentionKeepsNothing",
            )
        return found


def _duration(text: str | None, field: str) -> timedelta | None:
    return None if text is None else parse_duration(text, field)


VOLUME_BACKUP_POLICY = Resource(
    kind="VolumeBackupPolicy",
    plural="volumebackuppolicies",
    short_name="vbp",
    description="VolumeBackupPolicy makes VolumeBackups of the volumes that it selects, by a schedule,"
    " and says which of them stay. Deleting it deletes no backup.",
    spec=VolumeBackupPolicySpec,
    status=VolumeBackupPolicyStatus,
    status_default={"conditions": WAITING},
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Does it do its work"),
        Column("RPO-Met", '.status.conditions[?(@.type=="RPOMet")].status', "Young enough copies"),
        Column("Schedule", ".spec.schedule", "When it runs"),
        Column("Suspend", ".spec.suspend", "Is the schedule suspended", type="boolean"),
        Column("Volumes", ".status.volumesSelected", "Volumes selected", type="integer"),
        Column("Covered", ".status.volumesCovered", "Those with a good copy", type="integer"),
        Column("Last-Success", ".status.lastSuccessTime", "Newest good copy", type="date"),
        AGE,
        Column(
            "Drilled",
            '.status.conditions[?(@.type=="Drilled")].status',
            "Did the last drills get every byte back",
            wide=True,
        ),
        Column(
            "Checked",
            '.status.conditions[?(@.type=="Checked")].status',
            "Did the last checks find all whole",
            wide=True,
        ),
        Column("Next-Run", ".status.nextRunTime", "When it runs next", wide=True),
        Column("Missed", ".status.missedRuns", "Runs that were missed", type="integer", wide=True),
        MESSAGE,
    ),
)
