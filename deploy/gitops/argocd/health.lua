-- Health of every kind of cinderbank.io in Argo CD: one script, as all kinds have the same conditions.
-- It says what kstatus says (Current: Healthy, InProgress: Progressing, Failed: Degraded), and Degraded
-- for what has ended well and has found damage, a backup that is known to be damaged, and a policy whose
-- backups are older than spec.rpo, or whose drills or checks are not good.
local function health(status, message)
  return {status = status, message = message or ""}
end

if obj.status == nil or obj.status.conditions == nil then
  return health("Progressing", "Waiting for the operator")
end
local observed = obj.status.observedGeneration
if observed ~= nil and obj.metadata.generation ~= nil and observed ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator to see the change")
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local function is(kind, status)
  return conditions[kind] ~= nil and conditions[kind].status == status
end

if is("Reconciling", "True") then
  return health("Progressing", conditions.Reconciling.message)
end
if is("Stalled", "True") then
  return health("Degraded", conditions.Stalled.message)
end
for _, kind in ipairs({"Intact", "RPOMet", "Verified", "Drilled", "Checked"}) do
  if is(kind, "False") then
    return health("Degraded", conditions[kind].message)
  end
end
if is("Ready", "True") then
  return health("Healthy", conditions.Ready.message)
end
if conditions.Ready ~= nil then
  return health("Progressing", conditions.Ready.message)
end
return health("Progressing", "Waiting for the operator")
