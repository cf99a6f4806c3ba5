"""A dataset in an S3 server (moto's) in a process of its own on this machine, so that it takes time from the reader.

with serving(Path("svhn-records")) as address:
    tfrecords.open(address, "train")
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.place import Place

_BUCKET = "benchmark"
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def serving(data: Path) -> Iterator[str]:
    """Writes a dataset to a server of its own, which the environment names from then on, and yields its address.

    Raises:
      UserError: moto is not installed.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise UserError("A store needs moto: pip install 'streetdigits[test]', or --address.")
            os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "no_proxy": "127.0.0.1"}
            os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            import boto3
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()  # of another server, in this process
            boto3.client("s3").create_bucket(Bucket=_BUCKET)
            address = f"s3://{_BUCKET}/records"
            for name in Place(data).names():
                (Place(address) / name).write([(data / name).read_bytes()])
            yield address
        finally:
            server.kill()
