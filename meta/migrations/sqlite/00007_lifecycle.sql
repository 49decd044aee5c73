-- +goose Up
create table lifecycle_states (
  repo_id integer primary key references repositories (id),
  policy_id text not null,
  version integer not null,
  put_at integer not null,
  evaluated_at integer not null default 0,
  due_at integer not null,
  claimed_by text not null default '',
  claimed_until integer not null default 0,
  run_started_at integer not null default 0,
  run_ended_at integer not null default 0,
  run_expired integer not null default 0,
  run_archived integer not null default 0,
  run_withheld integer not null default 0,
  run_error text not null default ''
) strict;
create index lifecycle_states_due on lifecycle_states (due_at);
insert into lifecycle_states (repo_id, policy_id, version, put_at, due_at)
  select id, '00000000-0000-4000-8000-000000000000', 1, created_at, 0 from repositories where lifecycle_policy <> '';

create table lifecycle_previews (
  id integer primary key autoincrement,
  repo_id integer unique references repositories (id),
  policy text not null,
  status text not null,
  started_at integer not null,
  ended_at integer not null default 0,
  expires_at integer not null,
  claimed_by text not null default '',
  claimed_until integer not null default 0,
  attempts integer not null default 0,
  expiring integer not null default 0,
  transitioning integer not null default 0,
  withheld integer not null default 0,
  error text not null default ''
) strict;
create index lifecycle_previews_work on lifecycle_previews (id) where status = 'IN_PROGRESS';
create index lifecycle_previews_end on lifecycle_previews (expires_at) where status = 'COMPLETE';
create index lifecycle_previews_old on lifecycle_previews (id) where repo_id is null;

create table lifecycle_preview_results (
  preview_id integer not null references lifecycle_previews (id),
  seq integer not null,
  digest text not null,
  tags text not null,
  tagged integer not null,
  pushed_at integer not null,
  archived integer not null,
  rule integer not null,
  action text not null,
  reason text not null,
  withheld text not null,
  primary key (preview_id, seq)
) strict, without rowid;
create index lifecycle_preview_results_digest on lifecycle_preview_results (preview_id, digest);

create table expired_images (
  id integer primary key autoincrement,
  repo_id integer not null references repositories (id),
  digest text not null,
  media_type text not null,
  artifact_type text not null,
  subject_digest text not null,
  size integer not null,
  pushed_at integer not null,
  status text not null,
  archived_at integer not null,
  activated_at integer not null,
  last_pulled_at integer not null,
  pulls integer not null,
  tags text not null,
  parents text not null,
  payload blob not null,
  rule integer not null,
  reason text not null,
  expired_at integer not null,
  undo_until integer not null,
  unique (repo_id, digest)
) strict;
create index expired_images_order on expired_images (repo_id, id);
create index expired_images_end on expired_images (undo_until);
create index expired_images_subject on expired_images (repo_id, subject_digest, id) where subject_digest <> '';

create table expired_image_blobs (
  expired_id integer not null references expired_images (id),
  repo_id integer not null,
  blob_id integer not null,
  primary key (expired_id, blob_id),
  foreign key (repo_id, blob_id) references repository_blobs (repo_id, blob_id)
) strict, without rowid;
create index expired_image_blobs_link on expired_image_blobs (repo_id, blob_id);

-- +goose Down
update repository_blobs set review_after = 0 where review_after is null
  and exists (select 1 from expired_image_blobs e where e.repo_id = repository_blobs.repo_id and e.blob_id = repository_blobs.blob_id);
drop table expired_image_blobs;
drop table expired_images;
drop table lifecycle_preview_results;
drop table lifecycle_previews;
drop table lifecycle_states;
