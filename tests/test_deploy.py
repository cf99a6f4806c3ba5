"""deploy/: every file is valid by schema, every command line of ours parses, and hosts find each other."""

import argparse
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import streetdigits
from tests.dockerfile import read_stages
from tests.operator_schemas import SCHEMAS, pods
from trainer.commands import train
from trainer.distribute.cluster import TF_CONFIG, Cluster

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
"""Version whose schemas hold."""
MANIFESTS = {
    f"{path.stem}-{document['kind']}": document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.stem != "kustomization"
    for document in yaml.safe_load_all(path.read_text())
}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
VERTEX = json.loads((DEPLOY / "vertex" / "train.json").read_text())
ENTRY_POINTS = {
    name: json.loads(stage.named("ENTRYPOINT")[-1].value)
    for name, stage in read_stages((ROOT / "Dockerfile").read_text()).items()
    if stage.named("ENTRYPOINT")
}
OURS = {"streetdigits": "cli", "streetdigits-worker": "worker", "streetdigits-trainer": "trainer"}
"""Stage of each of our images by its name."""


def _pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each pod's specification and what it belongs to."""
    for name, document in MANIFESTS.items():
        if document["kind"] in SCHEMAS:
            for pod in pods(SCHEMAS[document["kind"]], document):
                yield name, pod["spec"]
        elif "template" in document["spec"]:
            yield name, document["spec"]["template"]["spec"]


PODS = list(_pod_specs())
CONTAINERS = [
    (name, pod, container) for name, pod in PODS for container in [*pod.get("initContainers", []), *pod["containers"]]
]


def _image(name: str) -> str | None:
    """Returns the stage of one of our images, or None for another's."""
    return OURS.get(name.rpartition("/")[2].partition(":")[0])


def _arguments() -> dict[str, list[str]]:
    """Returns the command line of ours in each container, from the command's name on."""
    found = {}
    for name, _, container in CONTAINERS:
        if _image(container.get("image", "")) in ("cli", "trainer"):
            script = " ".join(container.get("command", []))
            found[f"{name}-{container['name']}"] = [
                *(["train"] if "trainer train" in script else []),
                *container["args"],
            ]
    for name, service in COMPOSE["services"].items():
        if _image(service["image"]):
            found[f"compose-{name}"] = service["command"]
    for index, pool in enumerate(VERTEX["jobSpec"]["workerPoolSpecs"]):
        found[f"vertex-{index}"] = pool["containerSpec"]["args"]
    (launched,) = re.findall(r"exec streetdigits (.*)\"\$@\"", (DEPLOY / "dataflow.sh").read_text().replace("\\\n", ""))
    found["dataflow"] = shlex.split(re.sub(r"\$\w+", "name", launched))
    return found


ARGUMENTS = _arguments()


def test_training_from_a_bucket_mounts_nothing_shared() -> None:
    patch = pytest.importorskip("jsonpatch").apply_patch
    file = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    (change,) = file["patches"]
    target = change["target"]
    assert file["resources"] == ["train-job.yaml"]
    job = patch(MANIFESTS[f"train-job-{target['kind']}"], yaml.safe_load(change["patch"]))
    assert job["metadata"]["name"] == target["name"]
    pytest.importorskip("kubernetes_validate").validate(job, KUBERNETES, strict=True)
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert volume.keys() == {"name", "emptyDir"}
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    train.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    assert (str(parsed.data), str(parsed.run_dir)) == ("gs://BUCKET/svhn-records", "gs://BUCKET/runs/first")
    assert not any("=/data/" in each for each in arguments)
    # All that the other file trains with is as it was.
    assert arguments[2:-2] == MANIFESTS["train-job-Job"]["spec"]["template"]["spec"]["containers"][0]["args"][2:]


def _container(manifest: str, name: str) -> dict[str, Any]:
    """Returns a container of a resource."""
    (found,) = (each for owner, _, each in CONTAINERS if owner == manifest and each["name"] == name)
    return found


@pytest.mark.parametrize("name", [name for name, each in MANIFESTS.items() if each["kind"] not in SCHEMAS])
def test_a_resource_is_one_of_kubernetes(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(MANIFESTS[name], KUBERNETES, strict=True)


@pytest.mark.parametrize("name", [name for name, each in MANIFESTS.items() if each["kind"] in SCHEMAS])
def test_an_operators_resource_has_its_fields_and_pods(name: str) -> None:
    document = MANIFESTS[name]
    schema = SCHEMAS[document["kind"]]
    jsonschema.Draft202012Validator(schema).validate(document)
    validate = pytest.importorskip("kubernetes_validate").validate
    found = pods(schema, document)
    assert found
    for pod in found:
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **pod}, KUBERNETES, strict=True)


def test_a_misspelt_field_of_an_operators_resource_fails() -> None:
    document = json.loads(json.dumps(MANIFESTS["train-tfjob-TFJob"]))
    document["spec"]["runPolicy"]["backofLimit"] = 1
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        jsonschema.Draft202012Validator(SCHEMAS["TFJob"]).validate(document)


def test_compose_is_valid() -> None:
    package = importlib.util.find_spec("check_jsonschema")
    if not package or not package.origin:
        pytest.skip("check-jsonschema, which has compose's schema, is not installed")
    schema = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(COMPOSE)
    names = COMPOSE["services"].keys()
    assert all(service.get("depends_on", {}).keys() <= names for service in COMPOSE["services"].values())


def test_compose_mounts_folders_of_the_checkout() -> None:
    # Compose resolves relative paths from the folder of its file.
    text = (DEPLOY / "compose.yaml").read_text()
    found = {(DEPLOY / path).resolve() for path in re.findall(r"\$\{[A-Z]+:-(\.[^}]*)\}", text)}
    assert found == {ROOT / "svhn", ROOT / "data"}


def test_vertex_takes_the_job() -> None:
    types = pytest.importorskip("google.cloud.aiplatform_v1.types", reason="google-cloud-aiplatform is not installed")
    job = types.CustomJob.from_json(json.dumps(VERTEX), ignore_unknown_fields=False)
    assert [pool.replica_count for pool in job.job_spec.worker_pool_specs] == [1, 1]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_command_line_of_ours_parses(name: str) -> None:
    command, *words = ARGUMENTS[name]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    (module,) = (each.module for each in streetdigits.COMMANDS if each.name == command)
    importlib.import_module(module).add_arguments(parser)
    _, rest = parser.parse_known_args(words)
    if command == "prepare":
        options = importlib.import_module("apache_beam.options.pipeline_options")
        known = options._BeamArgumentParser(allow_abbrev=False)
        for kind in options.PipelineOptions.__subclasses__():
            kind._add_argparse_args(known)
        _, rest = known.parse_known_args(rest)
    assert not rest


def test_the_image_of_each_command_has_it() -> None:
    commands = {_image(each.get("image", "")): each.get("command") for _, _, each in CONTAINERS}
    assert commands["worker"] is None and ENTRY_POINTS["worker"] == ["/opt/apache/beam/boot"]
    trained = [words[0] for name, words in ARGUMENTS.items() if "prepare" not in name and "dataflow" not in name]
    assert set(trained) == {"train", "export"}
    assert ENTRY_POINTS["trainer"] == ["python", "-m", "trainer"] and ENTRY_POINTS["cli"] == ["streetdigits"]


@pytest.mark.parametrize(("hosts", "index"), [(1, 0), (2, 0), (2, 1), (12, 11)])
def test_an_indexed_job_tells_the_trainer_its_hosts(hosts: int, index: int, tmp_path: Path) -> None:
    container = _container("train-job-Job", "train")
    shell, flags, script, name = container["command"]
    # In the place of Python: prints what it is given.
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$TF_CONFIG" "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOSTS": str(hosts), "JOB_COMPLETION_INDEX": str(index)}
    words = [shell, flags, script, name, *container["args"]]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    config, *given = done.stdout.splitlines()
    assert given == ["-m", "trainer", "train", *container["args"]]
    cluster = Cluster.from_environment({TF_CONFIG: config})
    assert cluster == Cluster(tuple(f"train-{each}.train:2222" for each in range(hosts)), index)


def test_an_indexed_job_has_as_many_hosts_as_it_names() -> None:
    job, service = MANIFESTS["train-job-Job"], MANIFESTS["train-job-Service"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (hosts,) = (each["value"] for each in pod["containers"][0]["env"] if each["name"] == "HOSTS")
    assert int(hosts) == spec["completions"] == spec["parallelism"]
    assert pod["subdomain"] == service["metadata"]["name"] and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    batch = next(word for word in pod["containers"][0]["args"] if word.startswith("--global-batch-size="))
    assert int(batch.partition("=")[2]) % int(hosts) == 0


def test_jobs_give_up_on_errors_and_go_on_after_preemption() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    codes = {int(code): retry for code, retry in re.findall(r"^\| (\d+) \|.*\| ?(yes|no|) ?\|$", page, re.MULTILINE)}
    assert codes == {0: "", 1: "no", 2: "no", 130: "yes", 138: "yes", 143: "yes"}
    for name in ("train-job-Job", "prepare-Job"):
        job = MANIFESTS[name]["spec"]
        assert job["template"]["spec"]["restartPolicy"] == "Never"
        rules = job["podFailurePolicy"]["rules"]
        by_action = {rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule}
        assert by_action["FailJob"] == [code for code, retry in codes.items() if retry == "no"]
        assert all(codes[code] == "yes" for code in by_action.get("Ignore", []))
        assert any(rule.get("onPodConditions") == [{"type": "DisruptionTarget", "status": "True"}] for rule in rules)
        names = {each["name"] for each in job["template"]["spec"]["containers"]}
        assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} <= names
    replica = MANIFESTS["train-tfjob-TFJob"]["spec"]["tfReplicaSpecs"]["Worker"]
    assert replica["restartPolicy"] == "ExitCode" and all((code >= 128) == (codes[code] == "yes") for code in codes)


def test_kubeflow_finds_its_container_and_port() -> None:
    container = _container("train-tfjob-TFJob", "tensorflow")
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]


def test_flink_its_job_server_and_beam_fit_together() -> None:
    flink = MANIFESTS["flink-FlinkDeployment"]
    version = flink["spec"]["image"].partition(":")[2].rpartition(".")[0]
    assert flink["spec"]["flinkVersion"] == f"v{version.replace('.', '_')}"
    server = _container("prepare-Job", "job-server")
    boot = read_stages((ROOT / "Dockerfile").read_text())["beam"].base
    assert server["image"] == f"apache/beam_flink{version}_job_server:{boot.partition(':')[2]}"
    options = importlib.import_module("apache_beam.options.pipeline_options")
    assert version in options.FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    # The operator names the service of a cluster NAME-rest.
    assert f"--flink-master=http://{flink['metadata']['name']}-rest:8081" in server["args"]
    worker = _container("flink-FlinkDeployment", "worker")
    (port,) = worker["ports"]
    assert f"--environment_config=localhost:{port['containerPort']}" in _container("prepare-Job", "prepare")["args"]
    # What the job server stages, the TaskManager reads: both mount the folder.
    staged = next(word for word in server["args"] if word.startswith("--artifacts-dir=")).partition("=")[2]
    for mounted in (server, _container("flink-FlinkDeployment", "flink-main-container"), worker):
        assert any(staged.startswith(each["mountPath"]) for each in mounted["volumeMounts"])


@pytest.mark.parametrize(
    "index", range(len(CONTAINERS)), ids=[f"{name}-{each['name']}" for name, _, each in CONTAINERS]
)
def test_a_container_is_no_root_has_a_version_and_no_secret_of_its_own(index: int) -> None:
    _, pod, container = CONTAINERS[index]
    assert re.search(r":\d", container.get("image", ":1"))
    user = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    # The container that the operator adds takes the user from the other template.
    assert user.get("runAsUser", 9999) > 0
    for variable in container.get("env", []):
        assert not re.search(r"(?i)key|secret|token|password", variable["name"]) or "valueFrom" in variable
    mounts = {each["name"] for each in container.get("volumeMounts", [])}
    volumes = {each["name"] for _, owner in PODS for each in owner.get("volumes", [])}
    assert mounts <= volumes


def test_volumes_and_secrets_are_those_that_the_page_names() -> None:
    claims = {
        each["persistentVolumeClaim"]["claimName"]
        for _, pod in PODS
        for each in pod.get("volumes", [])
        if pod["volumes"]
    }
    assert claims == {MANIFESTS["storage-PersistentVolumeClaim"]["metadata"]["name"]}
    secrets = {ref["secretRef"]["name"] for _, _, each in CONTAINERS for ref in each.get("envFrom", [])}
    assert secrets == {"streetdigits-store"}
    page = (ROOT / "docs" / "deploying.md").read_text()
    assert all(path.name in page for path in DEPLOY.rglob("*") if path.is_file()) and "streetdigits-store" in page


def test_a_shell_script_has_no_mistake_that_a_shell_finds() -> None:
    subprocess.run(["/bin/sh", "-n", DEPLOY / "dataflow.sh"], check=True)
    done = subprocess.run(["/bin/sh", DEPLOY / "dataflow.sh"], env={}, check=False, capture_output=True, text=True)
    assert done.returncode and "PROJECT" in done.stderr
