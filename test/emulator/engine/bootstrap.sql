-- What the emulator keeps in PostgreSQL: a catalog of the types and attributes that PostgreSQL has no place for, the
-- functions whose meaning differs, and the system views. Runs once a database, in one transaction.

create schema redshift_emulator;
set local search_path = redshift_emulator, pg_catalog;

-- ---- catalog

create table long_names (short text primary key, name text not null);

create table relations (
  oid oid primary key,
  name text not null,
  temporary boolean not null default false,
  diststyle text not null default 'auto',
  sortkey_style text not null default 'auto',
  backup boolean not null default true,
  encode_auto boolean not null default true
);

create table columns (
  relation oid not null,
  attnum smallint not null,
  name text not null,
  kind text not null,
  length integer,
  scale integer,
  not_null boolean not null,
  default_sql text,
  encode text,
  distkey boolean not null default false,
  sortkey integer not null default 0,
  identity text,
  primary key (relation, attnum)
);

create table constraints (
  relation oid not null,
  name text not null,
  kind text not null,
  columns text[] not null,
  primary key (relation, name)
);

-- ---- text: bpchar, because its comparisons leave trailing blanks out as Redshift's do. A cast to text would cut them
-- off, so every function goes through the output function.

create function exact(bpchar) returns text language sql immutable strict parallel safe
  return textin(bpcharout($1));

create function len(bpchar) returns integer language sql immutable strict parallel safe
  return char_length(textin(bpcharout($1)));
create function len(bytea) returns integer language sql immutable strict parallel safe
  return pg_catalog.octet_length($1);
create function octet_length(bpchar) returns integer language sql immutable strict parallel safe
  return pg_catalog.octet_length($1);
create function octet_length(bytea) returns integer language sql immutable strict parallel safe
  return pg_catalog.octet_length($1);
create function lower(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.lower(exact($1))::bpchar;
create function upper(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.upper(exact($1))::bpchar;
create function initcap(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.initcap(exact($1))::bpchar;
create function btrim(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.btrim(exact($1))::bpchar;
create function btrim(bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.btrim(exact($1), exact($2))::bpchar;
create function ltrim(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.ltrim(exact($1))::bpchar;
create function ltrim(bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.ltrim(exact($1), exact($2))::bpchar;
create function rtrim(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.rtrim(exact($1))::bpchar;
create function rtrim(bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.rtrim(exact($1), exact($2))::bpchar;
create function "substring"(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.substr(exact($1), $2)::bpchar;
create function "substring"(bpchar, integer, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.substr(exact($1), $2, $3)::bpchar;
create function "substring"(bytea, integer, integer) returns bytea language sql immutable strict parallel safe
  return pg_catalog.substr($1, $2, $3);
create function "left"(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog."left"(exact($1), $2)::bpchar;
create function "right"(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog."right"(exact($1), $2)::bpchar;
create function strpos(bpchar, bpchar) returns integer language sql immutable strict parallel safe
  return pg_catalog.strpos(exact($1), exact($2));
create function charindex(bpchar, bpchar) returns integer language sql immutable strict parallel safe
  return pg_catalog.strpos(exact($2), exact($1));
create function replace(bpchar, bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.replace(exact($1), exact($2), exact($3))::bpchar;
create function concat(bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return (exact($1) || exact($2))::bpchar;
create function concat(bytea, bytea) returns bytea language sql immutable strict parallel safe
  return $1 || $2;
create function lpad(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.lpad(exact($1), $2)::bpchar;
create function lpad(bpchar, integer, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.lpad(exact($1), $2, exact($3))::bpchar;
create function rpad(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.rpad(exact($1), $2)::bpchar;
create function rpad(bpchar, integer, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.rpad(exact($1), $2, exact($3))::bpchar;
create function repeat(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.repeat(exact($1), $2)::bpchar;
create function reverse(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.reverse(exact($1))::bpchar;
create function split_part(bpchar, bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.split_part(exact($1), exact($2), $3)::bpchar;
create function translate(bpchar, bpchar, bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.translate(exact($1), exact($2), exact($3))::bpchar;
create function chr(integer) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.chr($1)::bpchar;
create function ascii(bpchar) returns integer language sql immutable strict parallel safe
  return pg_catalog.ascii(exact($1));
create function md5(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.md5(exact($1))::bpchar;
create function sha2(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return case when $2 in (0, 256) then encode(sha256(convert_to(exact($1), 'UTF8')), 'hex')
              when $2 = 224 then encode(sha224(convert_to(exact($1), 'UTF8')), 'hex')
              when $2 = 384 then encode(sha384(convert_to(exact($1), 'UTF8')), 'hex')
              when $2 = 512 then encode(sha512(convert_to(exact($1), 'UTF8')), 'hex') end::bpchar;
create function quote_ident(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.quote_ident(exact($1))::bpchar;
create function quote_literal(bpchar) returns bpchar language sql immutable strict parallel safe
  return pg_catalog.quote_literal(exact($1))::bpchar;

create function strtol(bpchar, integer) returns bigint language plpgsql immutable strict parallel safe as $$
begin
  if $2 <> 16 or redshift_emulator.exact($1) !~ '^[0-9a-fA-F]{1,15}$' then
    raise exception 'the Redshift emulator knows STRTOL of up to 15 hexadecimal digits only';
  end if;
  return ('x' || pg_catalog.lpad(redshift_emulator.exact($1), 16, '0'))::bit(64)::bigint;
end $$;

create function to_char(timestamp, bpchar) returns bpchar language sql stable strict
  return pg_catalog.to_char($1, exact($2))::bpchar;
create function to_char(timestamptz, bpchar) returns bpchar language sql stable strict
  return pg_catalog.to_char($1, exact($2))::bpchar;
create function to_char(date, bpchar) returns bpchar language sql stable strict
  return pg_catalog.to_char($1::timestamp, exact($2))::bpchar;
create function to_char(numeric, bpchar) returns bpchar language sql stable strict
  return pg_catalog.to_char($1, exact($2))::bpchar;

-- ---- casts

-- The longest begin of a text that has at most so many bytes and cuts no character.
create function cut(bytes integer, value text) returns text language plpgsql immutable strict parallel safe as $$
declare
  whole bytea := convert_to(value, 'UTF8');
begin
  if pg_catalog.octet_length(whole) <= bytes then return value; end if;
  while bytes > 0 and (get_byte(whole, bytes) & 192) = 128 loop bytes := bytes - 1; end loop;
  return convert_from(pg_catalog.substr(whole, 1, bytes), 'UTF8');
end $$;

create function fitting(value text, bytes integer) returns bpchar language plpgsql immutable strict parallel safe as $$
begin
  if pg_catalog.octet_length(value) > bytes then
    raise exception 'value too long for type character varying(%)', bytes using errcode = '22001';
  end if;
  return value::bpchar;
end $$;

create function cast_varchar(bpchar, integer) returns bpchar language sql immutable strict parallel safe
  return case when pg_catalog.octet_length($1) <= $2 then $1 else cut($2, exact($1))::bpchar end;
create function cast_varchar(smallint, integer) returns bpchar language sql immutable strict return fitting($1::text, $2);
create function cast_varchar(integer, integer) returns bpchar language sql immutable strict return fitting($1::text, $2);
create function cast_varchar(bigint, integer) returns bpchar language sql immutable strict return fitting($1::text, $2);
create function cast_varchar(numeric, integer) returns bpchar language sql immutable strict return fitting($1::text, $2);
-- Redshift descends from PostgreSQL 8, whose floating point has 6 and 15 digits as text, like a cast to numeric has.
create function float_text(value numeric, digits integer) returns text language sql immutable strict parallel safe
  return case when value = 0 then '0'
    when pg_catalog.abs(value) >= pg_catalog.power(10::numeric, digits) or pg_catalog.abs(value) < 0.0001
    then regexp_replace(trim(pg_catalog.to_char(value, '9.' || pg_catalog.repeat('9', digits - 1) || 'EEEE')), '\.?0*e', 'e')
    else trim_scale(value)::text end;
create function cast_varchar(real, integer) returns bpchar language sql stable strict
  return fitting(float_text($1::numeric, 6), $2);
create function cast_varchar(double precision, integer) returns bpchar language sql stable strict
  return fitting(float_text($1::numeric, 15), $2);
create function cast_varchar(date, integer) returns bpchar language sql stable strict return fitting($1::text, $2);
create function cast_varchar(time, integer) returns bpchar language sql stable strict return fitting($1::text, $2);
create function cast_varchar(timetz, integer) returns bpchar language sql stable strict return fitting($1::text, $2);
create function cast_varchar(timestamp, integer) returns bpchar language sql stable strict return fitting($1::text, $2);
create function cast_varchar(timestamptz, integer) returns bpchar language sql stable strict return fitting($1::text, $2);
create function cast_varchar(bytea, integer) returns bpchar language sql stable strict
  return cast_varchar(convert_from($1, 'UTF8')::bpchar, $2);
create function cast_varchar(jsonb, integer) returns bpchar language plpgsql immutable strict as $$
begin
  if jsonb_typeof($1) <> 'string' then
    raise exception 'the Redshift emulator does not know a cast of SUPER to VARCHAR but for strings: use JSON_SERIALIZE';
  end if;
  return redshift_emulator.cast_varchar(($1 #>> '{}')::bpchar, $2);
end $$;

create function cast_char(bpchar, integer) returns bpchar language plpgsql immutable strict as $$
begin
  if pg_catalog.octet_length($1) <> char_length(redshift_emulator.exact($1)) then
    raise exception 'CHAR string contains invalid ASCII character' using errcode = '22021';
  end if;
  return pg_catalog."left"(redshift_emulator.exact($1), $2)::bpchar;
end $$;

create function cast_numeric(numeric, integer, integer) returns numeric language plpgsql immutable strict as $$
begin
  if pg_catalog.trunc($1, $3) <> $1 then
    raise exception 'the Redshift emulator does not know whether a cast rounds or cuts: use ROUND or TRUNC first';
  end if;
  return $1;
end $$;

create function cast_varbyte(bytea, integer) returns bytea language sql immutable strict
  return pg_catalog.substr($1, 1, $2);
create function cast_varbyte(bpchar, integer) returns bytea language sql immutable strict
  return pg_catalog.substr(convert_to(exact($1), 'UTF8'), 1, $2);

create function utc(timetz) returns timetz language sql immutable strict
  return pg_catalog.timezone('UTC', $1);

-- ---- numbers and dates

create function trunc(numeric) returns numeric language sql immutable strict return pg_catalog.trunc($1);
create function trunc(numeric, integer) returns numeric language sql immutable strict return pg_catalog.trunc($1, $2);
create function trunc(double precision) returns double precision language sql immutable strict return pg_catalog.trunc($1);
create function trunc(timestamp) returns date language sql immutable strict return $1::date;

create function date_trunc(bpchar, timestamp) returns timestamp language sql immutable strict
  return pg_catalog.date_trunc(exact($1), $2);
create function date_trunc(bpchar, date) returns timestamp language sql immutable strict
  return pg_catalog.date_trunc(exact($1), $2::timestamp);
create function date_trunc(bpchar, timestamptz) returns timestamptz language sql stable strict
  return pg_catalog.date_trunc(exact($1), $2);

create function date_part(bpchar, timestamp) returns bigint language sql immutable strict
  return pg_catalog.trunc(pg_catalog.date_part(exact($1), $2))::bigint;
create function date_part(bpchar, timestamptz) returns bigint language sql stable strict
  return pg_catalog.trunc(pg_catalog.date_part(exact($1), $2))::bigint;
create function date_part(bpchar, date) returns bigint language sql immutable strict
  return pg_catalog.trunc(pg_catalog.date_part(exact($1), $2::timestamp))::bigint;

create function part_interval(part text, amount bigint) returns interval language plpgsql immutable strict as $$
begin
  return case pg_catalog.rtrim(pg_catalog.lower(part), 's')
    when 'year' then make_interval(years => amount::integer)
    when 'month' then make_interval(months => amount::integer)
    when 'week' then make_interval(weeks => amount::integer)
    when 'day' then make_interval(days => amount::integer)
    when 'hour' then make_interval(hours => amount::integer)
    when 'minute' then make_interval(mins => amount::integer)
    when 'second' then make_interval(secs => amount)
    when 'millisecond' then make_interval(secs => amount / 1000.0)
    when 'microsecond' then amount * interval '1 microsecond'
    else redshift_emulator.unknown_part(part)
  end;
end $$;
create function unknown_part(text) returns interval language plpgsql immutable as $$
begin
  raise exception 'the Redshift emulator does not know the date part %', $1;
end $$;

create function dateadd(bpchar, bigint, timestamp) returns timestamp language sql immutable strict
  return $3 + part_interval(exact($1), $2);
create function dateadd(bpchar, bigint, date) returns timestamp language sql immutable strict
  return $3 + part_interval(exact($1), $2);
create function dateadd(bpchar, bigint, timestamptz) returns timestamptz language sql stable strict
  return $3 + part_interval(exact($1), $2);

create function timezone(bpchar, timestamp) returns timestamptz language sql immutable strict
  return pg_catalog.timezone(exact($1), $2);
create function timezone(bpchar, timestamptz) returns timestamp language sql immutable strict
  return pg_catalog.timezone(exact($1), $2);

create function datediff(bpchar, timestamp, timestamp) returns bigint language plpgsql immutable strict as $$
declare
  seconds bigint := case pg_catalog.rtrim(pg_catalog.lower(redshift_emulator.exact($1)), 's')
    when 'second' then 1 when 'minute' then 60 when 'hour' then 3600 when 'day' then 86400 end;
begin
  if seconds is null then perform redshift_emulator.unknown_part(redshift_emulator.exact($1)); end if;
  return floor(extract(epoch from $3) / seconds) - floor(extract(epoch from $2) / seconds);
end $$;

-- ---- SUPER is jsonb, VARBYTE is bytea

create function super_fits(jsonb) returns boolean language plpgsql immutable strict as $$
begin
  if pg_catalog.octet_length($1::text) <= 65535 then return true; end if;
  if pg_catalog.octet_length($1::text) > 16777216 then
    raise exception 'Value exceeds the maximum SUPER size of 16777216 bytes' using errcode = '22001';
  end if;
  if exists (
    select from jsonb_path_query($1, 'strict $.**') v
    where jsonb_typeof(v) = 'string' and pg_catalog.octet_length(v #>> '{}') > 65535
  ) then
    raise exception 'String value exceeds the max size of 65535 bytes' using errcode = '22001';
  end if;
  return true;
end $$;

create function json_parse(bpchar) returns jsonb language plpgsql immutable strict as $$
declare
  value jsonb := redshift_emulator.exact($1)::jsonb;
begin
  perform redshift_emulator.super_fits(value);
  return value;
end $$;

create function can_json_parse(bpchar) returns boolean language sql immutable strict return exact($1) is json;
create function json_typeof(jsonb) returns bpchar language sql immutable strict return jsonb_typeof($1)::bpchar;

-- Without the blanks that PostgreSQL puts behind commas and colons.
create function compact_json(jsonb) returns text language sql immutable strict parallel safe
  return pg_catalog.regexp_replace($1::text, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g');
-- Never NULL: of NULL it makes the document null.
create function "json_serialize"(jsonb) returns bpchar language plpgsql immutable as $$
declare
  text text := coalesce(redshift_emulator.compact_json($1), 'null');
begin
  if pg_catalog.octet_length(text) > 65535 then
    raise exception 'Invalid operation: the serialized document is longer than a VARCHAR can be' using errcode = '22001';
  end if;
  return text::bpchar;
end $$;
create function json_size(jsonb) returns integer language sql immutable strict
  return pg_catalog.octet_length(convert_to(compact_json($1), 'UTF8'));

create function to_super(jsonb) returns jsonb language sql immutable strict return $1;
create function to_super(bpchar) returns jsonb language sql immutable strict return to_jsonb(exact($1));
create function to_super(smallint) returns jsonb language sql immutable strict return to_jsonb($1);
create function to_super(integer) returns jsonb language sql immutable strict return to_jsonb($1);
create function to_super(bigint) returns jsonb language sql immutable strict return to_jsonb($1);
create function to_super(numeric) returns jsonb language sql immutable strict return to_jsonb($1);
create function to_super(double precision) returns jsonb language sql immutable strict return to_jsonb($1);
create function to_super(boolean) returns jsonb language sql immutable strict return to_jsonb($1);

create function from_hex(bpchar) returns bytea language sql immutable strict return decode(exact($1), 'hex');
create function to_hex(bytea) returns bpchar language sql immutable strict return encode($1, 'hex')::bpchar;
create function to_hex(bigint) returns bpchar language sql immutable strict return pg_catalog.to_hex($1)::bpchar;
create function to_varbyte(bpchar, bpchar) returns bytea language plpgsql immutable strict as $$
begin
  return case pg_catalog.lower(redshift_emulator.exact($2))
    when 'hex' then decode(redshift_emulator.exact($1), 'hex')
    when 'base64' then decode(redshift_emulator.exact($1), 'base64')
    when 'utf8' then convert_to(redshift_emulator.exact($1), 'UTF8')
    when 'utf-8' then convert_to(redshift_emulator.exact($1), 'UTF8')
    else redshift_emulator.unknown_format(redshift_emulator.exact($2))
  end;
end $$;
create function from_varbyte(bytea, bpchar) returns bpchar language plpgsql immutable strict as $$
begin
  return case pg_catalog.lower(redshift_emulator.exact($2))
    when 'hex' then encode($1, 'hex')
    when 'base64' then pg_catalog.replace(encode($1, 'base64'), chr(10), '')
    when 'utf8' then convert_from($1, 'UTF8')
    when 'utf-8' then convert_from($1, 'UTF8')
    else convert_from(redshift_emulator.unknown_format(redshift_emulator.exact($2)), 'UTF8')
  end::bpchar;
end $$;
create function unknown_format(text) returns bytea language plpgsql immutable as $$
begin
  raise exception 'the Redshift emulator does not know the binary format %', $1;
end $$;

-- ---- session

create function session_text(name text) returns text language sql stable
  return nullif(current_setting('redshift_emulator.' || name, true), '');
create function session_number(name text) returns bigint language sql stable
  return coalesce(session_text(name)::bigint, -1);
create function current_user_name() returns bpchar language sql stable return session_text('user')::bpchar;
create function current_database_name() returns bpchar language sql stable return session_text('database')::bpchar;
create function version() returns bpchar language sql immutable
  return 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.0 (Millrace''s emulator)'::bpchar;
create function pg_cancel_backend(bigint) returns boolean language sql volatile strict
  return pg_catalog.pg_cancel_backend($1::integer);
create function pg_terminate_backend(bigint) returns boolean language sql volatile strict
  return pg_catalog.pg_terminate_backend($1::integer);
create function has_schema_privilege(bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_schema_privilege(exact($1), exact($2));
create function has_schema_privilege(bpchar, bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_schema_privilege(exact($1)::name, exact($2), exact($3));
create function has_table_privilege(bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_table_privilege(exact($1), exact($2));
create function has_table_privilege(bpchar, bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_table_privilege(exact($1)::name, exact($2), exact($3));
create function has_database_privilege(bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_database_privilege(pg_catalog.current_database(), exact($2));
create function has_database_privilege(bpchar, bpchar, bpchar) returns boolean language sql stable strict
  return pg_catalog.has_database_privilege(exact($1)::name, pg_catalog.current_database()::text, exact($3));

-- ---- what the views are made of

create function real_name(name) returns text language sql stable strict
  return coalesce((select n.name from long_names n where n.short = $1::text), $1::text);

create function count_rows(oid) returns bigint language plpgsql stable strict as $$
declare
  result bigint;
begin
  execute format('select count(*) from %s', $1::regclass) into result;
  return result;
end $$;

create view user_schemas as
  select oid, real_name(nspname) as name, nspname as short, nspowner as owner from pg_namespace
  where nspname not in ('redshift_emulator', 'pg_toast') and nspname !~ '^pg_(toast_)?temp_'
    and nspname not in ('pg_catalog', 'information_schema');

create view user_relations as
  select c.oid, r.name, c.relkind::text as kind, n.oid as schema_oid,
    case when c.relpersistence = 't' then 'pg_temp_' || pg_backend_pid() else real_name(n.nspname) end as schema_name,
    r.temporary, r.diststyle, r.sortkey_style, r.backup, r.encode_auto, c.relowner
  from relations r join pg_class c on c.oid = r.oid join pg_namespace n on n.oid = c.relnamespace
  where c.relpersistence <> 't' or n.oid = pg_my_temp_schema();

create view user_columns as
  select r.oid as relation, r.schema_name, r.name as table_name, r.kind as relation_kind, c.attnum, c.name,
    row_number() over (partition by c.relation order by c.attnum)::integer as ordinal,
    c.kind, c.length, c.scale, c.not_null, c.default_sql, c.encode, c.distkey, c.sortkey, c.identity,
    case c.kind
      when 'varchar' then 'character varying' when 'char' then 'character' when 'double' then 'double precision'
      when 'time' then 'time without time zone' when 'timetz' then 'time with time zone'
      when 'timestamp' then 'timestamp without time zone' when 'timestamptz' then 'timestamp with time zone'
      when 'varbyte' then 'binary varying' else c.kind end as type_name,
    case when c.kind in ('varchar', 'char', 'varbyte') then c.length end as character_length,
    case c.kind when 'smallint' then 16 when 'integer' then 32 when 'bigint' then 64 when 'numeric' then c.length
      when 'real' then 24 when 'double' then 53 end as numeric_precision,
    case when c.kind in ('smallint', 'integer', 'bigint') then 0 when c.kind = 'numeric' then c.scale end as numeric_scale,
    case when c.kind in ('time', 'timetz', 'timestamp', 'timestamptz') then 6 end as datetime_precision
  from columns c join user_relations r on r.oid = c.relation;

-- ---- system views, under their own names with the prefix system_

create view system_svv_tables as
  select current_database_name() as table_catalog, schema_name::bpchar as table_schema, name::bpchar as table_name,
    case kind when 'v' then 'VIEW' else 'BASE TABLE' end::bpchar as table_type,
    obj_description(oid, 'pg_class')::bpchar as remarks
  from user_relations;

create view system_svv_columns as
  select current_database_name() as table_catalog, schema_name::bpchar as table_schema,
    table_name::bpchar as table_name, name::bpchar as column_name, ordinal as ordinal_position,
    default_sql::bpchar as column_default, case when not_null then 'NO' else 'YES' end::bpchar as is_nullable,
    type_name::bpchar as data_type, character_length as character_maximum_length, numeric_precision,
    case when kind in ('smallint', 'integer', 'bigint', 'real', 'double') then 2 when kind = 'numeric' then 10 end as numeric_precision_radix,
    numeric_scale, datetime_precision, null::bpchar as interval_type, null::bpchar as interval_precision,
    null::bpchar as character_set_catalog, null::bpchar as character_set_schema, null::bpchar as character_set_name,
    null::bpchar as collation_catalog, null::bpchar as collation_schema, null::bpchar as collation_name,
    null::bpchar as domain_name, col_description(relation, attnum)::bpchar as remarks
  from user_columns;

create view system_svv_redshift_schemas as
  select current_database_name() as database_name, name::bpchar as schema_name, owner::integer as schema_owner,
    'local'::bpchar as schema_type, ''::bpchar as schema_acl, null::bpchar as schema_option
  from user_schemas;

create view system_svv_redshift_tables as
  select current_database_name() as database_name, schema_name::bpchar as schema_name, name::bpchar as table_name,
    case kind when 'v' then 'VIEW' else 'TABLE' end::bpchar as table_type, ''::bpchar as table_acl,
    obj_description(oid, 'pg_class')::bpchar as remarks, relowner::integer as table_owner
  from user_relations;

create view system_svv_redshift_columns as
  select current_database_name() as database_name, schema_name::bpchar as schema_name,
    table_name::bpchar as table_name, name::bpchar as column_name, ordinal as ordinal_position,
    case kind when 'varchar' then format('character varying(%s)', length) when 'char' then format('character(%s)', length)
      when 'numeric' then format('numeric(%s,%s)', length, scale) when 'varbyte' then format('binary varying(%s)', length)
      else type_name end::bpchar as data_type,
    default_sql::bpchar as column_default, case when not_null then 'NO' else 'YES' end::bpchar as is_nullable,
    coalesce(encode, 'none')::bpchar as encoding, distkey, sortkey, ''::bpchar as column_acl,
    col_description(relation, attnum)::bpchar as remarks
  from user_columns;

create view system_svv_table_info as
  select current_database_name() as "database", schema_name::bpchar as "schema", oid::bigint as table_id,
    name::bpchar as "table", case when encode_auto then 'Y, AUTO(ENCODE)' else 'Y' end::bpchar as encoded,
    (case diststyle when 'key' then 'KEY(' || (select c.name from columns c where c.relation = r.oid and c.distkey) || ')'
      when 'auto' then 'AUTO(ALL)' else pg_catalog.upper(diststyle) end)::bpchar as diststyle,
    coalesce((select c.name from columns c where c.relation = r.oid and c.sortkey = 1),
      case sortkey_style when 'auto' then 'AUTO(SORTKEY)' end)::bpchar as sortkey1,
    (select max(c.length) from columns c where c.relation = r.oid and c.kind = 'varchar') as max_varchar,
    (select count(*) from columns c where c.relation = r.oid and c.sortkey > 0)::integer as sortkey_num,
    ceil(pg_total_relation_size(oid) / 1048576.0)::bigint as size,
    0::numeric(10, 4) as pct_used, 0::numeric(10, 4) as unsorted, 0::numeric(5, 2) as stats_off,
    count_rows(oid)::numeric(38, 0) as tbl_rows
  from user_relations r
  -- Redshift leaves empty tables out.
  where kind = 'r' and count_rows(oid) > 0;

create view system_information_schema_tables as
  select table_catalog, table_schema, table_name, table_type from system_svv_tables;

create view system_information_schema_columns as
  select table_catalog, table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, data_type,
    character_maximum_length, numeric_precision, numeric_precision_radix, numeric_scale, datetime_precision
  from system_svv_columns;

create view system_information_schema_schemata as
  select current_database_name() as catalog_name, name::bpchar as schema_name from user_schemas;

create view system_information_schema_table_constraints as
  select current_database_name() as constraint_catalog, r.schema_name::bpchar as constraint_schema,
    c.name::bpchar as constraint_name, current_database_name() as table_catalog, r.schema_name::bpchar as table_schema,
    r.name::bpchar as table_name, pg_catalog.upper(c.kind)::bpchar as constraint_type
  from constraints c join user_relations r on r.oid = c.relation;

create view system_information_schema_key_column_usage as
  select r.schema_name::bpchar as constraint_schema, c.name::bpchar as constraint_name,
    r.schema_name::bpchar as table_schema, r.name::bpchar as table_name, k.column_name::bpchar as column_name,
    k.n::integer as ordinal_position
  from constraints c join user_relations r on r.oid = c.relation,
    unnest(c.columns) with ordinality as k(column_name, n);

-- Only what the search path reaches, as in Redshift.
create view system_pg_table_def as
  select schema_name::bpchar as schemaname, table_name::bpchar as tablename, name::bpchar as "column",
    case kind when 'varchar' then format('character varying(%s)', length) when 'char' then format('character(%s)', length)
      when 'numeric' then format('numeric(%s,%s)', length, scale) when 'varbyte' then format('binary varying(%s)', length)
      else type_name end::bpchar as "type",
    coalesce(encode, 'none')::bpchar as encoding, distkey, sortkey, not_null as "notnull"
  from user_columns
  where schema_name = any (select real_name(s) from unnest(current_schemas(false)) s) or schema_name like 'pg_temp_%';

create view system_pg_namespace as
  select oid, name::bpchar as nspname, owner as nspowner from user_schemas;

create view system_pg_class as
  select c.oid, coalesce(r.name, real_name(c.relname))::bpchar as relname, c.relnamespace, c.relowner,
    c.relkind::bpchar as relkind, c.oid as relfilenode, c.reltuples, c.relnatts
  from pg_class c left join relations r on r.oid = c.oid
  where c.relnamespace <> 'redshift_emulator'::regnamespace;

create view system_pg_attribute as
  select a.attrelid, coalesce(c.name, real_name(a.attname))::bpchar as attname, a.attnum, a.attnotnull, a.attisdropped
  from pg_attribute a left join columns c on c.relation = a.attrelid and c.attnum = a.attnum;

create view system_pg_depend as
  select classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype::bpchar as deptype from pg_depend;

create view system_pg_rewrite as
  select oid, rulename::text::bpchar as rulename, ev_class from pg_rewrite;

create view system_pg_tables as
  select schema_name::bpchar as schemaname, name::bpchar as tablename, pg_get_userbyid(relowner)::text::bpchar as tableowner
  from user_relations where kind = 'r';

create view system_pg_views as
  select schema_name::bpchar as schemaname, name::bpchar as viewname, pg_get_userbyid(relowner)::text::bpchar as viewowner
  from user_relations where kind = 'v';

create view system_pg_user as
  select usename::text::bpchar as usename, usesysid::integer as usesysid, usecreatedb, usesuper from pg_user;

create view system_pg_database as
  select current_database_name() as datname, 'awsuser'::bpchar as owner;

grant usage on schema redshift_emulator to public;
grant select on all tables in schema redshift_emulator to public;
