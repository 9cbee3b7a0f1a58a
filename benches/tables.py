"""What is in the shards: pgbench's tables, an order book for an ORM, rows in bulk; and foreign tables of it all."""

from clusters import DATABASE, FDW, PASSWORD, ROLE, SHARDS, TENANTS
from processes import program, run
from psycopg import sql

# The tenant of every workload that has one; it does not live on home.
TENANT = "cyberdyne"
# Its fellow on another shard.
FELLOW = "initech"
FILL_SECONDS_MAX = 600
# Counted up when what is made here changes.
EDITION = 1

# Seven tables, as an ORM would have them.
ORDER_BOOK = """
    CREATE TABLE countries (id int PRIMARY KEY, code varchar(2) NOT NULL, name varchar(80) NOT NULL);
    CREATE TABLE customers (
        id int PRIMARY KEY, first_name varchar(80) NOT NULL, last_name varchar(80) NOT NULL, email varchar(254) NOT NULL,
        phone varchar(40) NOT NULL, created_at timestamptz NOT NULL, country_id int NOT NULL REFERENCES countries);
    CREATE TABLE orders (
        id int PRIMARY KEY, number varchar(20) NOT NULL, status varchar(20) NOT NULL, placed_at timestamptz NOT NULL,
        customer_id int NOT NULL REFERENCES customers);
    CREATE TABLE categories (id int PRIMARY KEY, slug varchar(50) NOT NULL, name varchar(80) NOT NULL);
    CREATE TABLE suppliers (id int PRIMARY KEY, name varchar(80) NOT NULL, email varchar(254) NOT NULL);
    CREATE TABLE products (
        id int PRIMARY KEY, sku varchar(40) NOT NULL, name varchar(120) NOT NULL, price numeric(12, 2) NOT NULL,
        category_id int NOT NULL REFERENCES categories, supplier_id int NOT NULL REFERENCES suppliers);
    CREATE TABLE order_lines (
        id int PRIMARY KEY, quantity int NOT NULL, unit_price numeric(12, 2) NOT NULL,
        order_id int NOT NULL REFERENCES orders, product_id int NOT NULL REFERENCES products);
    CREATE INDEX ON order_lines (order_id);
    INSERT INTO countries SELECT i, 'C' || i, 'Country ' || i FROM generate_series(1, 9) i;
    INSERT INTO customers SELECT i, 'First ' || i, 'Last ' || i, i || '@example.org', '+1 555 ' || i, now(), 1 + i % 9
        FROM generate_series(1, 1000) i;
    INSERT INTO orders SELECT i, 'N' || i, 'paid', now(), 1 + i % 1000 FROM generate_series(1, 10000) i;
    INSERT INTO categories SELECT i, 'slug-' || i, 'Category ' || i FROM generate_series(1, 20) i;
    INSERT INTO suppliers SELECT i, 'Supplier ' || i, i || '@example.com' FROM generate_series(1, 20) i;
    INSERT INTO products SELECT i, 'SKU' || i, 'Product ' || i, i, 1 + i % 20, 1 + i % 20 FROM generate_series(1, 500) i;
    INSERT INTO order_lines SELECT i, 1 + i % 5, 9.95, 1 + i % 10000, 1 + i % 500 FROM generate_series(1, 30000) i;
"""
# To be copied in; nothing of it is kept.
INTAKE = "CREATE UNLOGGED TABLE intake (id int, filler text);"


def fill(world):
    """Makes what is missing; clusters that hold something else are filled anew."""
    wanted = f"edition {EDITION}, scale {world.scale}"
    for name, cluster in world.clusters.items():
        set_role(cluster, world.verifier)
        if held(cluster) == wanted:
            if name == FDW:
                point_to(world)
            continue
        print(f"Filling {name} …", flush=True)
        with cluster.connect() as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            conn.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        if name == FDW:
            make_foreign(world)
        else:
            make_tenants(world, cluster, [tenant for tenant, shard in TENANTS.items() if shard == name])
        with cluster.connect() as conn:
            conn.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(DATABASE), wanted))


def held(cluster):
    rows = cluster.asked(f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{DATABASE}'")
    return rows[0][0] if rows else None


def set_role(cluster, verifier):
    """The same verifier everywhere, made anew for each run."""
    with cluster.connect() as conn:
        if not conn.execute(f"SELECT FROM pg_roles WHERE rolname = '{ROLE}'").fetchall():
            conn.execute(f"CREATE ROLE {ROLE}")
        conn.execute(f"ALTER ROLE {ROLE} LOGIN PASSWORD '{verifier}'")


def make_tenants(world, cluster, tenants):
    for tenant in tenants:
        with cluster.connect(DATABASE) as conn:
            conn.execute(f"CREATE SCHEMA {tenant} AUTHORIZATION {ROLE}")
            conn.execute(f"SET ROLE {ROLE}; SET search_path = {tenant}; {ORDER_BOOK} {INTAKE}")
        env = {
            "PGHOST": "127.0.0.1", "PGPORT": str(cluster.port), "PGUSER": ROLE, "PGPASSWORD": PASSWORD,
            "PGDATABASE": DATABASE, "PGOPTIONS": f"-c search_path={tenant}",
        }
        command = [program("pgbench"), "-i", "-q", "-I", "dtGvp", "-s", world.scale]
        run(command, seconds=FILL_SECONDS_MAX, env=env)
    with cluster.connect(DATABASE) as conn:
        conn.execute("VACUUM ANALYZE")


def make_foreign(world):
    """As the seed of this project had it: a schema of foreign tables for each tenant, and a server for each shard."""
    with world.clusters[FDW].connect(DATABASE) as conn:
        conn.execute("CREATE EXTENSION postgres_fdw")
        for shard in SHARDS:
            conn.execute(
                f"CREATE SERVER {shard} FOREIGN DATA WRAPPER postgres_fdw "
                f"OPTIONS (host '127.0.0.1', port '{world.clusters[shard].port}', dbname '{DATABASE}')"
            )
            conn.execute(f"GRANT USAGE ON FOREIGN SERVER {shard} TO {ROLE}")
            for role in (ROLE, "postgres"):
                conn.execute(
                    f"CREATE USER MAPPING FOR {role} SERVER {shard} OPTIONS (user '{ROLE}', password '{PASSWORD}')"
                )
        for tenant, shard in TENANTS.items():
            conn.execute(f"CREATE SCHEMA {tenant} AUTHORIZATION {ROLE}")
            conn.execute(f"IMPORT FOREIGN SCHEMA {tenant} FROM SERVER {shard} INTO {tenant}")
            conn.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {tenant} TO {ROLE}")


def point_to(world):
    """The shards have other ports in each run."""
    with world.clusters[FDW].connect(DATABASE) as conn:
        for shard in SHARDS:
            conn.execute(f"ALTER SERVER {shard} OPTIONS (SET port '{world.clusters[shard].port}')")


def make_bulk(world, megabytes):
    """`cyberdyne.bulk`: rows of about 1 kB each."""
    cluster = world.shard_of(TENANT)
    rows = megabytes * 1000
    with cluster.connect(DATABASE) as conn:
        known = conn.execute(f"SELECT obj_description(to_regclass('{TENANT}.bulk'), 'pg_class')").fetchone()[0]
        if known == str(rows):
            return
        print(f"Filling {TENANT}.bulk with {megabytes} MB …", flush=True)
        conn.execute(f"SET ROLE {ROLE}; SET search_path = {TENANT}; DROP TABLE IF EXISTS bulk")
        conn.execute("CREATE TABLE bulk (id int, filler text)")
        conn.execute(f"INSERT INTO bulk SELECT i, repeat(md5(i::text), 31) FROM generate_series(1, {rows}) i")
        conn.execute(f"COMMENT ON TABLE bulk IS '{rows}'")
        conn.execute("VACUUM ANALYZE bulk")


def tidy_up(world, tenant):
    """What pgbench itself would do before each run of its own script, without being measured."""
    with world.shard_of(tenant).connect(DATABASE) as conn:
        conn.execute(f"TRUNCATE {tenant}.pgbench_history")
        conn.execute(f"VACUUM {tenant}.pgbench_branches, {tenant}.pgbench_tellers")
