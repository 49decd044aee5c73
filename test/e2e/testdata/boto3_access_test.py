"""Ecru's IAM, STS and CloudTrail by boto3: python3 boto3_access_test.py ENDPOINT.
Exits with 0 if all holds."""

import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]


def client(service, credentials=None):
    keys = {} if credentials is None else {
        "aws_access_key_id": credentials["AccessKeyId"], "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials.get("SessionToken")}
    return boto3.client(service, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}), **keys)


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    print("ok", what)


def fails(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        check(f"{call.__name__} fails", e.response["Error"]["Code"], code)
        return e.response
    sys.exit(f"{call.__name__}: succeeded, want {code}")


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


iam, sts, ecr, trail = client("iam"), client("sts"), client("ecr"), client("cloudtrail")
account = sts.get_caller_identity()["Account"]
check("account", account, "123456789012")

user = iam.create_user(UserName="boto", Path="/team/", Tags=[{"Key": "team", "Value": "a"}])["User"]
check("ARN", user["Arn"], "arn:aws:iam::123456789012:user/team/boto")
fails("EntityAlreadyExists", iam.create_user, UserName="boto")
fails("MalformedPolicyDocument", iam.put_user_policy, UserName="boto", PolicyName="p", PolicyDocument="{}")
fails("NoSuchEntity", iam.get_user, UserName="nobody")
document = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
iam.put_user_policy(UserName="boto", PolicyName="p", PolicyDocument=document)
check("the policy comes back", iam.get_user_policy(UserName="boto", PolicyName="p")["PolicyDocument"], json.loads(document))
key = iam.create_access_key(UserName="boto")["AccessKey"]

group = iam.create_group(GroupName="readers")["Group"]
iam.attach_group_policy(GroupName="readers", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
iam.add_user_to_group(GroupName="readers", UserName="boto")
check("group", iam.get_group(GroupName="readers")["Users"][0]["UserName"], "boto")

managed = iam.create_policy(PolicyName="push", PolicyDocument=policy({"Effect": "Allow", "Action": "ecr:PutImage", "Resource": "*"}))["Policy"]
check("version", managed["DefaultVersionId"], "v1")
second = iam.create_policy_version(PolicyArn=managed["Arn"], SetAsDefault=True,
                                   PolicyDocument=policy({"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "*"}))["PolicyVersion"]
check("second version", (second["VersionId"], second["IsDefaultVersion"]), ("v2", True))

role = iam.create_role(RoleName="boto-role", MaxSessionDuration=7200, AssumeRolePolicyDocument=policy(
    {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": ["sts:AssumeRole", "sts:TagSession"]}))["Role"]
iam.attach_role_policy(RoleName="boto-role", PolicyArn=managed["Arn"])
check("attached", [p["PolicyName"] for p in iam.list_attached_role_policies(RoleName="boto-role")["AttachedPolicies"]], ["push"])
check("the role's trust", iam.get_role(RoleName="boto-role")["Role"]["AssumeRolePolicyDocument"]["Version"], "2012-10-17")
check("no instance profiles", iam.list_instance_profiles_for_role(RoleName="boto-role")["InstanceProfiles"], [])

mine = client("sts", key)
check("who", mine.get_caller_identity()["Arn"], user["Arn"])
session = mine.assume_role(RoleArn=role["Arn"], RoleSessionName="s1", DurationSeconds=900, Tags=[{"Key": "team", "Value": "a"}])
check("session", session["AssumedRoleUser"]["Arn"], "arn:aws:sts::123456789012:assumed-role/boto-role/s1")
ecr.create_repository(repositoryName="boto/access")
as_role = client("ecr", session["Credentials"])
check("the role's policy", as_role.describe_repositories()["repositories"][0]["repositoryName"], "boto/access")
denied = fails("AccessDeniedException", as_role.create_repository, repositoryName="boto/denied")
message = denied["ResponseMetadata"]["HTTPHeaders"]["x-ecru-authorization-message"]
decoded = json.loads(sts.decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
check("the denied action", decoded["context"]["action"], "ecr:CreateRepository")
narrow = mine.assume_role(RoleArn=role["Arn"], RoleSessionName="s2", Policy=policy({"Effect": "Deny", "Action": "*", "Resource": "*"}))
fails("AccessDeniedException", client("ecr", narrow["Credentials"]).describe_repositories)
token = mine.get_session_token(DurationSeconds=900)["Credentials"]
check("session of a user", client("sts", token).get_caller_identity()["Arn"], user["Arn"])
check("whose key", sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"], account)
fails("InvalidClientTokenId", client("sts", {**token, "AccessKeyId": key["AccessKeyId"]}).get_caller_identity)

provider = iam.create_open_id_connect_provider(Url="https://oidc.example.com/id/1", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40])
check("provider", provider["OpenIDConnectProviderArn"], "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/1")
fails("InvalidIdentityToken", mine.assume_role_with_web_identity, RoleArn=role["Arn"], RoleSessionName="s3", WebIdentityToken="not.a.token")

text = policy({"Sid": "x", "Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": "ecr:BatchGetImage"})
ecr.set_repository_policy(repositoryName="boto/access", policyText=text)
check("the repository's policy", json.loads(ecr.get_repository_policy(repositoryName="boto/access")["policyText"])["Statement"][0]["Sid"], "x")
ecr.delete_repository_policy(repositoryName="boto/access")
fails("RepositoryPolicyNotFoundException", ecr.get_repository_policy, repositoryName="boto/access")

for attempt in range(100):
    events = trail.lookup_events(LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "s1"}])["Events"]
    if len(events) == 2:
        break
    time.sleep(0.1)
check("calls of the session, the newest first", [(e["EventName"], json.loads(e["CloudTrailEvent"]).get("errorCode")) for e in events],
      [("CreateRepository", "AccessDenied"), ("DescribeRepositories", None)])
pages = trail.get_paginator("lookup_events").paginate(PaginationConfig={"PageSize": 5})
names = [e["EventName"] for page in pages for e in page["Events"]]
check("every call has its record", (names.count("CreateUser"), names.count("AssumeRole")), (2, 2))
fails("InvalidLookupAttributesException", trail.lookup_events,
      LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "a"}, {"AttributeKey": "EventName", "AttributeValue": "b"}])

fails("DeleteConflict", iam.delete_user, UserName="boto")
iam.delete_access_key(UserName="boto", AccessKeyId=key["AccessKeyId"])
iam.delete_user_policy(UserName="boto", PolicyName="p")
iam.remove_user_from_group(GroupName="readers", UserName="boto")
iam.delete_user(UserName="boto")
fails("NoSuchEntity", iam.get_user, UserName="boto")
