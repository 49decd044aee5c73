-- +goose Up
create table principals (
  id bigint generated always as identity primary key,
  kind text collate "C" not null,
  account text collate "C" not null,
  name text collate "C" not null,
  path text collate "C" not null,
  unique_id text collate "C" not null unique,
  description text not null,
  trust text not null,
  max_session bigint not null,
  boundary text collate "C" not null,
  tags text not null,
  created_at bigint not null,
  unique (account, kind, name)
);

create table group_members (
  group_id bigint not null references principals (id),
  user_id bigint not null references principals (id),
  primary key (group_id, user_id)
);
create index group_members_user on group_members (user_id);

create table access_keys (
  id text collate "C" primary key,
  account text collate "C" not null,
  user_id bigint references principals (id),
  secret bytea not null,
  active bigint not null,
  created_at bigint not null
);
create index access_keys_user on access_keys (user_id);
create index access_keys_account on access_keys (account);

create table inline_policies (
  principal_id bigint not null references principals (id),
  name text collate "C" not null,
  document text not null,
  primary key (principal_id, name)
);

create table attachments (
  principal_id bigint not null references principals (id),
  policy_arn text collate "C" not null,
  primary key (principal_id, policy_arn)
);
create index attachments_policy on attachments (policy_arn);

create table managed_policies (
  arn text collate "C" primary key,
  account text collate "C" not null,
  name text collate "C" not null,
  path text collate "C" not null,
  unique_id text collate "C" not null unique,
  description text not null,
  default_version bigint not null,
  latest_version bigint not null,
  tags text not null,
  created_at bigint not null,
  updated_at bigint not null,
  unique (account, name)
);

create table policy_versions (
  arn text collate "C" not null references managed_policies (arn),
  version bigint not null,
  document text not null,
  created_at bigint not null,
  primary key (arn, version)
);

create table oidc_providers (
  account text collate "C" not null,
  url text collate "C" not null,
  client_ids text not null,
  thumbprints text not null,
  tags text not null,
  created_at bigint not null,
  primary key (account, url)
);

-- +goose Down
drop table oidc_providers;
drop table policy_versions;
drop table managed_policies;
drop table attachments;
drop table inline_policies;
drop table access_keys;
drop table group_members;
drop table principals;
