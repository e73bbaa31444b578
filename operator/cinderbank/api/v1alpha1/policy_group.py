"""spec.group of a VolumeBackupPolicy, and what its status remembers of a group snapshot."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cinderbank.api.v1alpha1.model import (
    UUID_FORM,
    ApiModel,
    CloudID,
    Matching,
    ObjectName,
    Time,
    clipped,
)
from cinderbank.domain.policy.group import CloudRef, GroupRun
from cinderbank.domain.policy.moment import Consistency, OneMoment

MESSAGE_LIMIT = 1024

GroupUUID = Annotated[
    str,
    Field(max_length=36),
    Matching(UUID_FORM, "must be a group's UUID as `openstack volume group list` shows it"),
]


class VolumeGroup(ApiModel):
    """A Cinder group whose volumes are backed up together."""

    group_id: GroupUUID = Field(
        description="Id (UUID) of the group in Cinder; its volumes are those it has when a run begins."
    )
    consistency: Consistency = Field(
        default=Consistency.PREFERRED,
        description="Whether the snapshots must be of one moment, which the group's type promises with"
        " consistent_group_snapshot_enabled. Required: no run unless Cinder shows that it does. Declared:"
        " the same, but where Cinder does not show it to this project, which is usual, your word is taken."
        " Preferred: a run in any case. Condition OneMoment tells how it is.",
    )


class GroupRunStatus(ApiModel):
    """The group snapshot of the run under way; it is there until the run's backups have ended."""

    group_id: CloudID = Field(description="Id of the group in Cinder.")
    secret_name: ObjectName = Field(description="Secret that it was asked for with.")
    cloud_name: Annotated[str, Field(max_length=253)] = Field(
        description="Entry of its clouds.yaml."
    )
    one_moment: Literal["True", "Declared", "False", "Unknown"] = Field(
        description="Whether its snapshots are of one moment."
    )
    request_time: Time = Field(description="When it was about to be asked for, the last time.")
    tries: Annotated[int, Field(ge=1)] = Field(
        default=1, description="How often it was asked for, as what was made before had failed."
    )
    group_snapshot_id: CloudID | None = Field(default=None, description="Its id in Cinder.")
    delete_time: Time | None = Field(
        default=None, description="When its delete was asked for, the last time."
    )
    deletes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How often its delete was asked for."
    )
    closed: bool = Field(
        default=False,
        description="Nothing more is made of it; it goes when its backups have ended.",
    )
    problem: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Why not every volume got its backup, in one CamelCase word."
    )
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] | None = Field(
        default=None, description="What is waited for, or the problem."
    )
    secret_gone_time: Time | None = Field(
        default=None,
        description="When its Secret, which spec.template names no more, was first found to be gone; 24 h"
        " later the run is given up, and the group snapshot stays.",
    )

    def to_domain(self) -> GroupRun:
        return GroupRun(
            group_id=self.group_id,
            cloud=CloudRef(self.secret_name, self.cloud_name),
            one_moment=OneMoment(self.one_moment),
            asked_at=self.request_time,
            tries=self.tries,
            snapshot_id=self.group_snapshot_id or "",
            deleted_at=self.delete_time,
            deletes=self.deletes,
            closed=self.closed,
            problem=self.problem or "",
            message=self.message or "",
            secret_gone_at=self.secret_gone_time,
        )


def group_run_status(run: GroupRun) -> GroupRunStatus:
    return GroupRunStatus(
        group_id=run.group_id,
        secret_name=run.cloud.secret_name,
        cloud_name=run.cloud.cloud_name,
        one_moment=str(run.one_moment),  # type: ignore[arg-type]
        request_time=run.asked_at,
        tries=run.tries,
        group_snapshot_id=run.snapshot_id or None,
        delete_time=run.deleted_at,
        deletes=run.deletes,
        closed=run.closed,
        problem=run.problem or None,
        message=clipped(run.message, MESSAGE_LIMIT) or None,
        secret_gone_time=run.secret_gone_at,
    )
