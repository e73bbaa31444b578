"""Names of other objects, always in the object's own namespace: that is the tenancy rule."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cinderbank.api.v1alpha1.model import ApiModel, Matching, ObjectName

SecretKey = Annotated[
    str,
    Field(max_length=253),
    Matching("^[A-Za-z0-9._-]+$", "must be a key of the Secret: letters, digits, dots, - and _"),
]
CloudName = Annotated[
    str,
    Field(max_length=253),
    Matching("^[^ ]+$", "must be the name of an entry below `clouds:` in clouds.yaml"),
]


class CloudCredentialsRef(ApiModel):
    """Which cloud to talk to, and the Secret that says how."""

    secret_name: ObjectName = Field(
        description="Name of a Secret in this namespace with the key clouds.yaml (as every"
        " OpenStack client reads it) and, for a private certificate authority, the key cacert (PEM)."
    )
    cloud_name: CloudName = Field(
        description="Which entry below `clouds:` in clouds.yaml to use, for example openstack."
    )


class BankRef(ApiModel):
    """A BackupBank."""

    name: ObjectName = Field(description="Name of a BackupBank in this namespace.")


class BackupRef(ApiModel):
    """A VolumeBackup."""

    name: ObjectName = Field(description="Name of a VolumeBackup in this namespace.")


class CASecretRef(ApiModel):
    """A certificate authority in a Secret."""

    name: ObjectName = Field(description="Name of a Secret in this namespace.")
    key: SecretKey = Field(
        default="ca.crt", description="Key of the Secret that holds the certificates (PEM)."
    )


class RecoveryPointRef(ApiModel):
    """A RecoveryPoint."""

    name: ObjectName = Field(description="Name of a RecoveryPoint in this namespace.")


class SecretRef(ApiModel):
    """A Secret."""

    name: ObjectName = Field(description="Name of a Secret in this namespace.")
