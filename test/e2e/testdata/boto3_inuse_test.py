"""Ecru's own operations by boto3: AWS_DATA_PATH=… python3 boto3_inuse_test.py ENDPOINT."""

import datetime
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

ecr = boto3.client("ecr", endpoint_url=sys.argv[1], config=Config(retries={"total_max_attempts": 1}))


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    print("ok", what)


digests = ["sha256:" + f"{n:064x}" for n in range(250)]
out = ecr.put_images_in_use(source="prod", images=[{"imageDigest": d} for d in digests], ttlSeconds=3600)
check("reported", out["reported"], 250)
check("failures", out["failures"], [])
pages = list(ecr.get_paginator("list_images_in_use").paginate(source="prod", PaginationConfig={"PageSize": 100}))
check("pages", [len(p["images"]) for p in pages], [100, 100, 50])
images = [i for p in pages for i in p["images"]]
check("digests", [i["imageDigest"] for i in images], digests)
check("for an hour", images[0]["expiresAt"] - images[0]["reportedAt"], datetime.timedelta(hours=1))
check("any repository", "repositoryName" in images[0], False)
ecr.put_images_in_use(source="prod", images=[], replace=True)
check("withdrawn", ecr.list_images_in_use()["images"], [])
ecr.create_repository(repositoryName="boto/app")
check("guards", ecr.get_lifecycle_guards(repositoryName="boto/app")["keepLast"], [])
try:
    ecr.list_images_in_use(nextToken="?")
    sys.exit("a bad token is taken")
except ClientError as e:
    check("error", e.response["Error"]["Code"], "InvalidParameterException")
try:
    ecr.put_images_in_use(images=[])
    sys.exit("a report without source is sent")
except ParamValidationError as e:
    check("botocore knows the model", "source" in str(e), True)
check("ECR's own operations are as they were", ecr.describe_repositories()["repositories"][0]["repositoryName"], "boto/app")
