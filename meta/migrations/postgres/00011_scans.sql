-- +goose Up
-- What is known of layers; extractor 0: nothing yet.
create table layer_inventories (
  id bigint generated always as identity primary key,
  digest text collate "C" not null unique,
  extractor bigint not null default 0,
  status text collate "C" not null default '',
  inflated bigint not null default 0,
  body bytea
);

-- Package -> layers -> images: what may have a package; an image's inventory
-- says whether it has.
create table layer_pvs (
  pv_id bigint not null,
  layer_id bigint not null references layer_inventories (id) on delete cascade,
  primary key (pv_id, layer_id)
);
create index layer_pvs_layer on layer_pvs (layer_id, pv_id);

create table image_layers (
  layer_id bigint not null references layer_inventories (id),
  image_id bigint not null references images (id) on delete cascade,
  place bigint not null,
  primary key (layer_id, image_id)
);
create index image_layers_image on image_layers (image_id, place);

create table image_inventories (
  image_id bigint primary key references images (id) on delete cascade,
  os_pvs bytea not null,
  other_pvs bytea not null,
  chain bigint not null,
  body bytea not null
);

create index image_inventories_chain on image_inventories (chain, image_id);
create index pvs_name on pvs (name, id);

create table image_scans (
  image_id bigint not null references images (id) on delete cascade,
  type text collate "C" not null,
  status text collate "C" not null,
  description text not null,
  requested_at bigint not null,
  first_at bigint not null default 0,
  completed_at bigint not null default 0,
  source_at bigint not null default 0,
  counts text not null default '',
  suppressed text not null default '',
  primary key (image_id, type)
);

create index image_scans_status on image_scans (status, image_id) where status not in ('COMPLETE', 'ACTIVE');

-- When a vulnerability of a package was seen first, and when it ceased to be one;
-- 0: it is one. Severity is its rank.
create table pv_history (
  pv_id bigint not null,
  vulnerability text collate "C" not null,
  severity bigint not null,
  first_at bigint not null,
  gone_at bigint not null default 0,
  primary key (pv_id, vulnerability)
);

create table overrides (
  id bigint generated always as identity primary key,
  account text collate "C" not null,
  repository text collate "C" not null,
  digest text collate "C" not null,
  vulnerability text collate "C" not null,
  package text collate "C" not null,
  path text collate "C" not null,
  status text collate "C" not null,
  description text not null,
  author text not null,
  created_at bigint not null,
  expires_at bigint not null,
  told bigint not null default 0,
  unique (account, repository, digest, vulnerability, package, path)
);
create index overrides_expiry on overrides (told, expires_at);

-- +goose Down
drop index pvs_name;
drop table overrides;
drop table pv_history;
drop table image_scans;
drop table image_inventories;
drop table image_layers;
drop table layer_pvs;
drop table layer_inventories;
