-- +goose Up
create table advisory_state (
  id integer primary key,
  generation integer not null
) strict;
insert into advisory_state (id, generation) values (1, 0);

create table feeds (
  id integer primary key autoincrement,
  name text not null unique,
  source text not null,
  etag text not null,
  high_water integer not null,
  form integer not null,
  records integer not null,
  newest integer not null,
  listed_at integer not null,
  loaded_at integer not null,
  checked_at integer not null,
  failure text not null
) strict;

create table advisories (
  id integer primary key autoincrement,
  name text not null unique,
  modified integer not null,
  withdrawn integer not null,
  lent text not null,
  body blob not null
) strict;

create table feed_records (
  feed integer not null references feeds (id),
  name text not null,
  modified integer not null,
  kept integer not null,
  primary key (feed, name)
) strict, without rowid;
create index feed_records_name on feed_records (name);

create table affected (
  ecosystem text not null,
  name text not null,
  advisory integer not null references advisories (id),
  part blob not null,
  primary key (ecosystem, name, advisory)
) strict, without rowid;
create index affected_advisory on affected (advisory);

create table advisory_names (
  name text not null,
  advisory integer not null references advisories (id),
  primary key (name, advisory)
) strict, without rowid;
create index advisory_names_advisory on advisory_names (advisory);

create table kev (
  cve text primary key,
  body text not null
) strict, without rowid;

create table epss (
  cve text primary key,
  score real not null,
  percentile real not null
) strict, without rowid;

create table pvs (
  id integer primary key autoincrement,
  ecosystem text not null,
  name text not null,
  version text not null,
  module text not null,
  stale integer not null,
  matched integer not null,
  unique (ecosystem, name, version, module)
) strict;
create index pvs_stale on pvs (ecosystem, name, id) where stale > matched;

create table pv_vulns (
  pv integer not null references pvs (id),
  vulnerability text not null,
  body text not null,
  primary key (pv, vulnerability)
) strict, without rowid;
create index pv_vulns_vulnerability on pv_vulns (vulnerability, pv);

create table pv_changes (
  pv integer primary key references pvs (id),
  at integer not null
) strict;

-- +goose Down
drop table pv_changes;
drop table pv_vulns;
drop table pvs;
drop table epss;
drop table kev;
drop table advisory_names;
drop table affected;
drop table feed_records;
drop table advisories;
drop table feeds;
drop table advisory_state;
