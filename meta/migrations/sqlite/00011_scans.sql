-- +goose Up
-- What is known of layers; extractor 0: nothing yet.
create table layer_inventories (
  id integer primary key autoincrement,
  digest text not null unique,
  extractor integer not null default 0,
  status text not null default '',
  inflated integer not null default 0,
  body blob
) strict;

-- Package -> layers -> images: what may have a package; an image's inventory
-- says whether it has.
create table layer_pvs (
  pv_id integer not null,
  layer_id integer not null references layer_inventories (id) on delete cascade,
  primary key (pv_id, layer_id)
) strict, without rowid;
create index layer_pvs_layer on layer_pvs (layer_id, pv_id);

create table image_layers (
  layer_id integer not null references layer_inventories (id),
  image_id integer not null references images (id) on delete cascade,
  place integer not null,
  primary key (layer_id, image_id)
) strict, without rowid;
create index image_layers_image on image_layers (image_id, place);

create table image_inventories (
  image_id integer primary key references images (id) on delete cascade,
  os_pvs blob not null,
  other_pvs blob not null,
  chain integer not null,
  body blob not null
) strict;

create index image_inventories_chain on image_inventories (chain, image_id);
create index pvs_name on pvs (name, id);

create table image_scans (
  image_id integer not null references images (id) on delete cascade,
  type text not null,
  status text not null,
  description text not null,
  requested_at integer not null,
  first_at integer not null default 0,
  completed_at integer not null default 0,
  source_at integer not null default 0,
  counts text not null default '',
  suppressed text not null default '',
  primary key (image_id, type)
) strict, without rowid;

create index image_scans_status on image_scans (status, image_id) where status not in ('COMPLETE', 'ACTIVE');

-- When a vulnerability of a package was seen first, and when it ceased to be one;
-- 0: it is one. Severity is its rank.
create table pv_history (
  pv_id integer not null,
  vulnerability text not null,
  severity integer not null,
  first_at integer not null,
  gone_at integer not null default 0,
  primary key (pv_id, vulnerability)
) strict, without rowid;

create table overrides (
  id integer primary key autoincrement,
  account text not null,
  repository text not null,
  digest text not null,
  vulnerability text not null,
  package text not null,
  path text not null,
  status text not null,
  description text not null,
  author text not null,
  created_at integer not null,
  expires_at integer not null,
  told integer not null default 0,
  unique (account, repository, digest, vulnerability, package, path)
) strict;
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
