"""Lifecycle policies by boto3: python3 boto3_lifecycle_test.py ENDPOINT."""

import hashlib
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
ecr = boto3.client("ecr", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    print("ok", what)


def fails(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        check(f"{call.__name__} fails", e.response["Error"]["Code"], code)
        return
    sys.exit(f"{call.__name__}: succeeded, want {code}")


def push(repo, n, tag=None):
    config = json.dumps({"architecture": "amd64", "os": "linux", "n": n}).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    up = ecr.initiate_layer_upload(repositoryName=repo)
    ecr.upload_layer_part(repositoryName=repo, uploadId=up["uploadId"], partFirstByte=0, partLastByte=len(config) - 1, layerPartBlob=config)
    ecr.complete_layer_upload(repositoryName=repo, uploadId=up["uploadId"], layerDigests=[digest])
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}, "layers": []})
    arguments = {"imageTag": tag} if tag else {}
    return ecr.put_image(repositoryName=repo, imageManifest=manifest, **arguments)["image"]["imageId"]["imageDigest"]


policy = json.dumps({"rules": [
    {"rulePriority": 1, "selection": {"tagStatus": "tagged", "tagPatternList": ["v*"], "countType": "imageCountMoreThan", "countNumber": 2}, "action": {"type": "expire"}},
    {"rulePriority": 2, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "transition", "targetStorageClass": "archive"}},
]}, indent=1)

ecr.create_repository(repositoryName="boto/app")
digests = [push("boto/app", n, f"v{n}") for n in range(5)] + [push("boto/app", 10 + n) for n in range(3)]
fails("RepositoryNotFoundException", ecr.put_lifecycle_policy, repositoryName="none", lifecyclePolicyText=policy)
fails("InvalidParameterException", ecr.put_lifecycle_policy, repositoryName="boto/app", lifecyclePolicyText=policy.replace("expire", "keep"))
check("text", ecr.put_lifecycle_policy(repositoryName="boto/app", lifecyclePolicyText=policy)["lifecyclePolicyText"], policy)
check("lastEvaluatedAt", ecr.get_lifecycle_policy(repositoryName="boto/app")["lastEvaluatedAt"].timestamp(), 0.0)

ecr.start_lifecycle_policy_preview(repositoryName="boto/app")
ecr.get_waiter("lifecycle_policy_preview_complete").wait(repositoryName="boto/app", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
pages = list(ecr.get_paginator("get_lifecycle_policy_preview").paginate(repositoryName="boto/app", PaginationConfig={"PageSize": 2}))
check("pages", len(pages), 3)
results = [r for p in pages for r in p["previewResults"]]
check("results", [(r["imageDigest"], r["action"]["type"], r["appliedRulePriority"]) for r in results],
      [(d, "EXPIRE", 1) for d in digests[:3]] + [(d, "TRANSITION", 2) for d in digests[5:7]])
check("summary", pages[0]["summary"], {"expiringImageTotalCount": 3, "transitioningImageTotalCounts": [{"targetStorageClass": "ARCHIVE", "imageTotalCount": 2}]}) \
    if "transitioningImageTotalCounts" in pages[0]["summary"] else check("summary", pages[0]["summary"]["expiringImageTotalCount"], 3)
one = ecr.get_lifecycle_policy_preview(repositoryName="boto/app", imageIds=[{"imageTag": "v1"}])["previewResults"]
check("by tag", [r["imageTags"] for r in one], [["v1"]])
fails("InvalidParameterException", ecr.get_lifecycle_policy_preview, repositoryName="boto/app", imageIds=[{"imageTag": "v1"}], maxResults=5)

other = json.dumps({"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 100}, "action": {"type": "expire"}}]})
started = ecr.start_lifecycle_policy_preview(repositoryName="boto/app", lifecyclePolicyText=other)
check("echo", started["lifecyclePolicyText"], other)
ecr.get_waiter("lifecycle_policy_preview_complete").wait(repositoryName="boto/app", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
check("nothing", ecr.get_lifecycle_policy_preview(repositoryName="boto/app")["previewResults"], [])
check("images", len(ecr.list_images(repositoryName="boto/app")["imageIds"]), 8)



check("deleted", ecr.delete_lifecycle_policy(repositoryName="boto/app")["lifecyclePolicyText"], policy)
fails("LifecyclePolicyNotFoundException", ecr.get_lifecycle_policy, repositoryName="boto/app")
