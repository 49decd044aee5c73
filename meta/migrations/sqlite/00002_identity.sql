-- +goose Up
create table principals (
  id integer primary key autoincrement,
  kind text not null,
  account text not null,
  name text not null,
  path text not null,
  unique_id text not null unique,
  description text not null,
  trust text not null,
  max_session integer not null,
  boundary text not null,
  tags text not null,
  created_at integer not null,
  unique (account, kind, name)
) strict;

create table group_members (
  group_id integer not null references principals (id),
  user_id integer not null references principals (id),
  primary key (group_id, user_id)
) strict, without rowid;
create index group_members_user on group_members (user_id);

create table access_keys (
  id text primary key,
  account text not null,
  user_id integer references principals (id),
  secret blob not null,
  active integer not null,
  created_at integer not null
) strict, without rowid;
create index access_keys_user on access_keys (user_id);
create index access_keys_account on access_keys (account);

create table inline_policies (
  principal_id integer not null references principals (id),
  name text not null,
  document text not null,
  primary key (principal_id, name)
) strict, without rowid;

create table attachments (
  principal_id integer not null references principals (id),
  policy_arn text not null,
  primary key (principal_id, policy_arn)
) strict, without rowid;
create index attachments_policy on attachments (policy_arn);

create table managed_policies (
  arn text primary key,
  account text not null,
  name text not null,
  path text not null,
  unique_id text not null unique,
  description text not null,
  default_version integer not null,
  latest_version integer not null,
  tags text not null,
  created_at integer not null,
  updated_at integer not null,
  unique (account, name)
) strict, without rowid;

create table policy_versions (
  arn text not null references managed_policies (arn),
  version integer not null,
  document text not null,
  created_at integer not null,
  primary key (arn, version)
) strict, without rowid;

create table oidc_providers (
  account text not null,
  url text not null,
  client_ids text not null,
  thumbprints text not null,
  tags text not null,
  created_at integer not null,
  primary key (account, url)
) strict, without rowid;

-- +goose Down
drop table oidc_providers;
drop table policy_versions;
drop table managed_policies;
drop table attachments;
drop table inline_policies;
drop table access_keys;
drop table group_members;
drop table principals;
