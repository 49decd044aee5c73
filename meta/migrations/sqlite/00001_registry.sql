-- +goose Up
create table repositories (
  id integer primary key autoincrement,
  account text not null,
  name text not null,
  created_at integer not null,
  mutability text not null,
  mutability_exclusion text not null,
  scan_on_push integer not null,
  encryption_type text not null,
  encryption_key text not null,
  policy text not null,
  lifecycle_policy text not null,
  tags text not null,
  image_count integer not null default 0,
  size_bytes integer not null default 0,
  unique (account, name)
) strict;

create table blobs (
  id integer primary key autoincrement,
  digest text not null unique,
  size integer not null,
  storage_key text not null unique,
  payload blob
) strict;

create table repository_blobs (
  repo_id integer not null references repositories (id),
  blob_id integer not null references blobs (id),
  review_after integer,
  primary key (repo_id, blob_id)
) strict, without rowid;
create index repository_blobs_blob on repository_blobs (blob_id);
create index repository_blobs_review on repository_blobs (review_after) where review_after is not null;

create table images (
  id integer primary key autoincrement,
  repo_id integer not null references repositories (id),
  digest text not null,
  media_type text not null,
  artifact_type text not null,
  subject_digest text,
  annotations text not null,
  manifest_size integer not null,
  size integer not null,
  pushed_at integer not null,
  status text not null,
  tag_count integer not null,
  unique (repo_id, digest)
) strict;
create index images_order on images (repo_id, id);
create index images_untagged on images (repo_id, id) where tag_count = 0;
create index images_subject on images (repo_id, subject_digest, digest) where subject_digest is not null;

create table manifests (
  image_id integer primary key references images (id),
  payload blob not null
) strict;

create table image_pulls (
  image_id integer primary key references images (id),
  last_pulled_at integer not null,
  pulls integer not null
) strict;

create table tags (
  repo_id integer not null references repositories (id),
  name text not null,
  image_id integer not null references images (id),
  updated_at integer not null,
  primary key (repo_id, name)
) strict, without rowid;
create index tags_image on tags (image_id, name);

create table manifest_blobs (
  image_id integer not null references images (id),
  repo_id integer not null,
  blob_id integer not null,
  primary key (image_id, blob_id),
  foreign key (repo_id, blob_id) references repository_blobs (repo_id, blob_id)
) strict, without rowid;
create index manifest_blobs_link on manifest_blobs (repo_id, blob_id);

create table manifest_refs (
  parent_id integer not null references images (id),
  child_id integer not null references images (id),
  primary key (parent_id, child_id)
) strict, without rowid;
create index manifest_refs_child on manifest_refs (child_id, parent_id);

create table uploads (
  id text primary key,
  repo_id integer not null,
  storage_key text not null unique,
  size integer not null,
  hash_state blob,
  store_state blob,
  data blob,
  short_part integer not null,
  epoch integer not null,
  expires_at integer not null
) strict, without rowid;
create index uploads_expiry on uploads (expires_at);
create index uploads_repository on uploads (repo_id);

create table blob_trash (
  storage_key text primary key,
  delete_after integer not null
) strict, without rowid;
create index blob_trash_due on blob_trash (delete_after);

create table events (
  id integer primary key autoincrement,
  at integer not null,
  type text not null,
  action text not null,
  account text not null,
  repository text not null,
  digest text not null,
  tag text not null,
  principal text not null,
  source_ip text not null,
  user_agent text not null,
  request_id text not null,
  code text not null
) strict;

create table account_settings (
  account text not null,
  name text not null,
  value text not null,
  primary key (account, name)
) strict, without rowid;

create table templates (
  account text not null,
  prefix text not null,
  body text not null,
  primary key (account, prefix)
) strict, without rowid;

create table pull_time_exclusions (
  account text not null,
  principal_arn text not null,
  created_at integer not null,
  primary key (account, principal_arn)
) strict, without rowid;

-- +goose Down
drop table pull_time_exclusions;
drop table templates;
drop table account_settings;
drop table events;
drop table blob_trash;
drop table uploads;
drop table manifest_refs;
drop table manifest_blobs;
drop table tags;
drop table image_pulls;
drop table manifests;
drop table images;
drop table repository_blobs;
drop table blobs;
drop table repositories;
