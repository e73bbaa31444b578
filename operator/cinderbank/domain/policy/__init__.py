"""What a VolumeBackupPolicy decides: when it runs, which volumes, what goes again, what is late.

Total, pure functions over frozen facts, as everywhere in the domain. One library from outside is let
in: cronsim reads cron expressions (no clock, no input, no output, no dependencies of its own).
"""
