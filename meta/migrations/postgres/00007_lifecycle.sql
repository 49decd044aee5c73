-- +goose Up
create table lifecycle_states (
  repo_id bigint primary key references repositories (id),
  policy_id text collate "C" not null,
  version bigint not null,
  put_at bigint not null,
  evaluated_at bigint not null default 0,
  due_at bigint not null,
  claimed_by text collate "C" not null default '',
  claimed_until bigint not null default 0,
  run_started_at bigint not null default 0,
  run_ended_at bigint not null default 0,
  run_expired bigint not null default 0,
  run_archived bigint not null default 0,
  run_withheld bigint not null default 0,
  run_error text collate "C" not null default ''
);
create index lifecycle_states_due on lifecycle_states (due_at);
insert into lifecycle_states (repo_id, policy_id, version, put_at, due_at)
  select id, '00000000-0000-4000-8000-000000000000', 1, created_at, 0 from repositories where lifecycle_policy <> '';

create table lifecycle_previews (
  id bigint generated always as identity primary key,
  repo_id bigint unique references repositories (id),
  policy text collate "C" not null,
  status text collate "C" not null,
  started_at bigint not null,
  ended_at bigint not null default 0,
  expires_at bigint not null,
  claimed_by text collate "C" not null default '',
  claimed_until bigint not null default 0,
  attempts bigint not null default 0,
  expiring bigint not null default 0,
  transitioning bigint not null default 0,
  withheld bigint not null default 0,
  error text collate "C" not null default ''
);
create index lifecycle_previews_work on lifecycle_previews (id) where status = 'IN_PROGRESS';
create index lifecycle_previews_end on lifecycle_previews (expires_at) where status = 'COMPLETE';
create index lifecycle_previews_old on lifecycle_previews (id) where repo_id is null;

create table lifecycle_preview_results (
  preview_id bigint not null references lifecycle_previews (id),
  seq bigint not null,
  digest text collate "C" not null,
  tags text collate "C" not null,
  tagged bigint not null,
  pushed_at bigint not null,
  archived bigint not null,
  rule bigint not null,
  action text collate "C" not null,
  reason text collate "C" not null,
  withheld text collate "C" not null,
  primary key (preview_id, seq)
);
create index lifecycle_preview_results_digest on lifecycle_preview_results (preview_id, digest);

create table expired_images (
  id bigint generated always as identity primary key,
  repo_id bigint not null references repositories (id),
  digest text collate "C" not null,
  media_type text collate "C" not null,
  artifact_type text collate "C" not null,
  subject_digest text collate "C" not null,
  size bigint not null,
  pushed_at bigint not null,
  status text collate "C" not null,
  archived_at bigint not null,
  activated_at bigint not null,
  last_pulled_at bigint not null,
  pulls bigint not null,
  tags text collate "C" not null,
  parents text collate "C" not null,
  payload bytea not null,
  rule bigint not null,
  reason text collate "C" not null,
  expired_at bigint not null,
  undo_until bigint not null,
  unique (repo_id, digest)
);
create index expired_images_order on expired_images (repo_id, id);
create index expired_images_end on expired_images (undo_until);
create index expired_images_subject on expired_images (repo_id, subject_digest, id) where subject_digest <> '';

create table expired_image_blobs (
  expired_id bigint not null references expired_images (id),
  repo_id bigint not null,
  blob_id bigint not null,
  primary key (expired_id, blob_id),
  foreign key (repo_id, blob_id) references repository_blobs (repo_id, blob_id)
);
create index expired_image_blobs_link on expired_image_blobs (repo_id, blob_id);

-- +goose Down
update repository_blobs set review_after = 0 where review_after is null
  and exists (select 1 from expired_image_blobs e where e.repo_id = repository_blobs.repo_id and e.blob_id = repository_blobs.blob_id);
drop table expired_image_blobs;
drop table expired_images;
drop table lifecycle_preview_results;
drop table lifecycle_previews;
drop table lifecycle_states;
