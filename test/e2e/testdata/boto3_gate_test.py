"""A gate by boto3: python3 boto3_gate_test.py ENDPOINT REPOSITORY DIGEST MAX_CRITICAL. Exit status 0, 2 or 3 as of ecru gate."""

import collections
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

endpoint, repository, digest, limit = sys.argv[1:]
ecr = boto3.client("ecr", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
image = {"repositoryName": repository, "imageId": {"imageDigest": digest}}
try:
    ecr.get_waiter("image_scan_complete").wait(WaiterConfig={"Delay": 1, "MaxAttempts": 2}, **image)
    pages = list(ecr.get_paginator("describe_image_scan_findings").paginate(PaginationConfig={"PageSize": 1}, **image))
except (WaiterError, ClientError) as e:
    print("no verdict:", e)
    sys.exit(3)
if any(p["imageScanStatus"]["status"] != "COMPLETE" for p in pages):
    print("no verdict:", pages[0]["imageScanStatus"])
    sys.exit(3)
counts = pages[0]["imageScanFindings"]["findingSeverityCounts"]
listed = collections.Counter(
    f["severity"]
    for p in pages
    for f in p["imageScanFindings"]["findings"]
    if not any(a["key"] == "ecru:override" for a in f["attributes"])
)
if dict(listed) != counts:
    sys.exit(f"{dict(listed)} are listed, {counts} are counted")
print("critical:", counts.get("CRITICAL", 0))
sys.exit(2 if counts.get("CRITICAL", 0) > int(limit) else 0)
