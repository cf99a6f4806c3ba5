"""JSON schemas of what deploy/ sends to operators: the fields of FlinkDeployment (v1beta1) and TFJob (v1) that it uses.

No package ships the operators' own definitions. These state name and type of the fields used, so that a misspelt or
misplaced field fails. Templates of pods are checked with Kubernetes' own schemas.
"""

from typing import Any

_TEXT = {"type": "string"}
POD = "template of a pod"
"""Marks the place of a template of a pod, in `title`."""
_POD = {"type": "object", "title": POD}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    """Returns the schema of an object of these fields and no others.

    Args:
      required: Names of the fields that must be there.
      **properties: Schemas of the fields.
    """
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_RESOURCE = _object("cpu memory", cpu={"type": "number"}, memory={"type": "string", "pattern": r"^\d+[mg]$"})
_FLINK = _object(
    "image flinkVersion serviceAccount jobManager taskManager",
    image=_TEXT,
    flinkVersion={"enum": ["v1_18", "v1_19", "v1_20", "v2_0", "v2_1", "v2_2"]},
    serviceAccount=_TEXT,
    # Flink reads every value as text.
    flinkConfiguration={"type": "object", "additionalProperties": _TEXT},
    jobManager=_object("resource", resource=_RESOURCE, replicas={"type": "integer"}, podTemplate=_POD),
    taskManager=_object("resource", resource=_RESOURCE, replicas={"type": "integer"}, podTemplate=_POD),
    podTemplate=_POD,
)
_REPLICA = _object(
    "replicas restartPolicy template",
    replicas={"type": "integer"},
    restartPolicy={"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
    template=_POD,
)
_TFJOB = _object(
    "tfReplicaSpecs",
    successPolicy={"enum": ["", "AllWorkers"]},
    runPolicy=_object(
        backoffLimit={"type": "integer"},
        activeDeadlineSeconds={"type": "integer"},
        cleanPodPolicy={"enum": ["All", "Running", "None"]},
        ttlSecondsAfterFinished={"type": "integer"},
    ),
    tfReplicaSpecs=_object(Worker=_REPLICA, Chief=_REPLICA),
)


def _kind(api: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a resource."""
    metadata = _object("name", name=_TEXT)
    return _object("apiVersion kind metadata spec", apiVersion={"const": api}, kind=_TEXT, metadata=metadata, spec=spec)


SCHEMAS = {
    "FlinkDeployment": _kind("flink.apache.org/v1beta1", _FLINK),
    "TFJob": _kind("kubeflow.org/v1", _TFJOB),
}
"""Schema of each resource by its kind."""


def pods(schema: dict[str, Any], value: Any) -> list[Any]:
    """Returns the templates of pods in a value that a schema describes."""
    if schema.get("title") == POD:
        return [value]
    if not isinstance(value, dict):
        return []
    fields = schema.get("properties", {})
    return [found for name, part in value.items() for found in pods(fields.get(name, {}), part)]
