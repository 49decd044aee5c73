-- +goose Up
create table repositories (
  id bigint generated always as identity primary key,
  account text collate "C" not null,
  name text collate "C" not null,
  created_at bigint not null,
  mutability text collate "C" not null,
  mutability_exclusion text collate "C" not null,
  scan_on_push bigint not null,
  encryption_type text collate "C" not null,
  encryption_key text collate "C" not null,
  policy text collate "C" not null,
  lifecycle_policy text collate "C" not null,
  tags text collate "C" not null,
  image_count bigint not null default 0,
  size_bytes bigint not null default 0,
  unique (account, name)
);

create table blobs (
  id bigint generated always as identity primary key,
  digest text collate "C" not null unique,
  size bigint not null,
  storage_key text collate "C" not null unique,
  payload bytea
);

create table repository_blobs (
  repo_id bigint not null references repositories (id),
  blob_id bigint not null references blobs (id),
  review_after bigint,
  primary key (repo_id, blob_id)
);
create index repository_blobs_blob on repository_blobs (blob_id);
create index repository_blobs_review on repository_blobs (review_after) where review_after is not null;

create table images (
  id bigint generated always as identity primary key,
  repo_id bigint not null references repositories (id),
  digest text collate "C" not null,
  media_type text collate "C" not null,
  artifact_type text collate "C" not null,
  subject_digest text collate "C",
  annotations text collate "C" not null,
  manifest_size bigint not null,
  size bigint not null,
  pushed_at bigint not null,
  status text collate "C" not null,
  tag_count bigint not null,
  unique (repo_id, digest)
);
create index images_order on images (repo_id, id);
create index images_untagged on images (repo_id, id) where tag_count = 0;
create index images_subject on images (repo_id, subject_digest, digest) where subject_digest is not null;

create table manifests (
  image_id bigint primary key references images (id),
  payload bytea not null
);

create table image_pulls (
  image_id bigint primary key references images (id),
  last_pulled_at bigint not null,
  pulls bigint not null
);

create table tags (
  repo_id bigint not null references repositories (id),
  name text collate "C" not null,
  image_id bigint not null references images (id),
  updated_at bigint not null,
  primary key (repo_id, name)
);
create index tags_image on tags (image_id, name);

create table manifest_blobs (
  image_id bigint not null references images (id),
  repo_id bigint not null,
  blob_id bigint not null,
  primary key (image_id, blob_id),
  foreign key (repo_id, blob_id) references repository_blobs (repo_id, blob_id)
);
create index manifest_blobs_link on manifest_blobs (repo_id, blob_id);

create table manifest_refs (
  parent_id bigint not null references images (id),
  child_id bigint not null references images (id),
  primary key (parent_id, child_id)
);
create index manifest_refs_child on manifest_refs (child_id, parent_id);

create table uploads (
  id text collate "C" primary key,
  repo_id bigint not null,
  storage_key text collate "C" not null unique,
  size bigint not null,
  hash_state bytea,
  store_state bytea,
  data bytea,
  short_part bigint not null,
  epoch bigint not null,
  expires_at bigint not null
);
create index uploads_expiry on uploads (expires_at);
create index uploads_repository on uploads (repo_id);

create table blob_trash (
  storage_key text collate "C" primary key,
  delete_after bigint not null
);
create index blob_trash_due on blob_trash (delete_after);

create table events (
  id bigint generated always as identity primary key,
  at bigint not null,
  type text collate "C" not null,
  action text collate "C" not null,
  account text collate "C" not null,
  repository text collate "C" not null,
  digest text collate "C" not null,
  tag text collate "C" not null,
  principal text collate "C" not null,
  source_ip text collate "C" not null,
  user_agent text collate "C" not null,
  request_id text collate "C" not null,
  code text collate "C" not null
);

create table account_settings (
  account text collate "C" not null,
  name text collate "C" not null,
  value text collate "C" not null,
  primary key (account, name)
);

create table templates (
  account text collate "C" not null,
  prefix text collate "C" not null,
  body text collate "C" not null,
  primary key (account, prefix)
);

create table pull_time_exclusions (
  account text collate "C" not null,
  principal_arn text collate "C" not null,
  created_at bigint not null,
  primary key (account, principal_arn)
);

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
