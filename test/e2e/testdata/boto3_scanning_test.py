"""Scans by boto3: AWS_DATA_PATH=… python3 boto3_scanning_test.py ENDPOINT. Scans
the image team/machine:v1 and prints its packages: name and version, a line each."""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ecr = boto3.client("ecr", endpoint_url=sys.argv[1], config=Config(retries={"total_max_attempts": 1}))
image = {"repositoryName": "team/machine", "imageId": {"imageTag": "v1"}}


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


try:
    ecr.describe_image_scan_findings(**image)
    sys.exit("an image that was not scanned has findings")
except ClientError as e:
    check("never scanned", e.response["Error"]["Code"], "ScanNotFoundException")
check("no status", "imageScanStatus" in ecr.describe_images(repositoryName="team/machine")["imageDetails"][0], False)
check("start", ecr.start_image_scan(**image)["imageScanStatus"]["status"], "IN_PROGRESS")
for _ in range(600):
    status = ecr.describe_image_scan_findings(**image)["imageScanStatus"]["status"]
    if status not in ("PENDING", "IN_PROGRESS"):
        break
    time.sleep(0.1)
# There are no advisories: an image is not clean because nothing is known.
check("status", status, "FINDINGS_UNAVAILABLE")
detail = ecr.describe_images(repositoryName="team/machine", imageIds=[{"imageTag": "v1"}])["imageDetails"][0]
check("status of the image", detail["imageScanStatus"]["status"], "FINDINGS_UNAVAILABLE")
check("no summary", "imageScanFindingsSummary" in detail, False)
token = {}
while True:
    page = ecr.get_image_inventory(maxResults=100, **image, **token)
    for p in page["packages"]:
        print(p["name"], p["version"])
    if "nextToken" not in page:
        break
    token = {"nextToken": page["nextToken"]}
