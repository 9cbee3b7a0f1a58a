// What programs in Node do with node-postgres, postgres.js and Knex: two tenants, north and south.
"use strict";

const assert = require("node:assert/strict");
const { before, describe, test } = require("node:test");
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { once } = require("node:events");

const Cursor = require("pg-cursor");
const copy = require("pg-copy-streams");
const knexOf = require("knex");
const pg = require("pg");
const postgres = require("postgres");

const TENANTS = ["north", "south"];

async function connected(tenant, more = {}) {
  const client = new pg.Client({ options: tenant && `-c search_path=${tenant},public`, ...more });
  await client.connect();
  return client;
}

async function using(client, work) {
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

before(async () => {
  for (const tenant of TENANTS) {
    await using(await connected(tenant), async (client) => {
      await client.query("CREATE TABLE place (name text)");
      await client.query("INSERT INTO place VALUES ($1)", [tenant]);
      await client.query("CREATE TABLE item (id serial PRIMARY KEY, name text UNIQUE, n int, tags text[], about jsonb)");
    });
  }
});

async function place(client) {
  return (await client.query("SELECT name FROM place")).rows[0].name;
}

describe("pg", () => {
  test("chooses a tenant at the start and by SET", async () => {
    for (const tenant of TENANTS) {
      await using(await connected(tenant), async (client) => {
        assert.equal(await place(client), tenant);
        for (const other of TENANTS) {
          await client.query(`SET search_path = ${client.escapeIdentifier(other)}, public`);
          assert.equal(await place(client), other);
          await client.query("SELECT set_config('search_path', $1, false)", [tenant]);
          assert.equal(await place(client), tenant);
        }
      });
    }
  });

  test("takes several statements in one query", async () => {
    await using(await connected("north"), async (client) => {
      const results = await client.query("SELECT 1 AS one; SELECT name FROM place; SELECT 3 AS three");
      assert.deepEqual(results.map((result) => result.rows[0]), [{ one: 1 }, { name: "north" }, { three: 3 }]);
    });
  });

  test("binds values of many types", async () => {
    await using(await connected("south"), async (client) => {
      const values = [1, "ä'\\", null, ["a", 'b"c'], { deep: [1, { x: null }] }];
      const sql = "INSERT INTO item (n, name, id, tags, about) VALUES ($1, $2, coalesce($3, 100), $4, $5) RETURNING *";
      const { rows, fields } = await client.query(sql, values);
      assert.deepEqual(rows, [{ id: 100, name: "ä'\\", n: 1, tags: ["a", 'b"c'], about: { deep: [1, { x: null }] } }]);
      assert.deepEqual(fields.map((field) => field.name), ["id", "name", "n", "tags", "about"]);
      const { rows: typed } = await client.query(
        "SELECT $1::bytea AS b, $2::timestamptz AS t, $3::float8 AS f, $4::bool AS y, $5::int8 AS big",
        [Buffer.from([0, 255]), new Date(0), 1.5, true, "9223372036854775807"],
      );
      assert.deepEqual(typed, [{ b: Buffer.from([0, 255]), t: new Date(0), f: 1.5, y: true, big: "9223372036854775807" }]);
    });
  });

  test("binds in binary and takes rows as arrays", async () => {
    await using(await connected("south"), async (client) => {
      const { rows } = await client.query({ text: "SELECT 1::int4, 'x'::text, 1.5::float8", rowMode: "array", binary: true });
      assert.equal(rows.length, 1);
      assert.equal(rows[0][0], 1);
    });
  });

  test("prepares by name and keeps it over tenants", async () => {
    await using(await connected("north"), async (client) => {
      const query = { name: "where-am-i", text: "SELECT name, $1::int AS turn FROM place" };
      for (let turn = 0; turn < 20; turn += 1) {
        const tenant = TENANTS[turn % 2];
        await client.query(`SET search_path = ${tenant}`);
        assert.deepEqual((await client.query({ ...query, values: [turn] })).rows, [{ name: tenant, turn }]);
      }
    });
  });

  test("tells errors with their fields, and goes on", async () => {
    await using(await connected("north"), async (client) => {
      await assert.rejects(client.query("SELECT * FROM nowhere"), { code: "42P01", position: "15", severity: "ERROR" });
      await assert.rejects(client.query("SELECT $1::int", ["x"]), { code: "22P02" });
      await assert.rejects(client.query("SELEC 1"), { code: "42601" });
      await client.query("INSERT INTO item (name) VALUES ('once')");
      await assert.rejects(client.query("INSERT INTO item (name) VALUES ('once')"), {
        code: "23505", constraint: "item_name_key", table: "item", schema: "north",
      });
      assert.equal(await place(client), "north");
    });
  });

  test("queues queries", async () => {
    await using(await connected("south"), async (client) => {
      const all = Array.from({ length: 200 }, (_, n) => client.query("SELECT $1::int AS n, name FROM place", [n]));
      const answers = await Promise.all(all);
      answers.forEach((answer, n) => assert.deepEqual(answer.rows, [{ n, name: "south" }]));
    });
  });

  test("runs transactions and savepoints", async () => {
    await using(await connected("north"), async (client) => {
      await client.query("BEGIN");
      await client.query("INSERT INTO item (name) VALUES ('kept')");
      await client.query("SAVEPOINT s");
      await assert.rejects(client.query("INSERT INTO item (name) VALUES ('kept')"), { code: "23505" });
      await client.query("ROLLBACK TO s");
      await client.query("COMMIT");
      await client.query("BEGIN; SET LOCAL search_path = south");
      assert.equal(await place(client), "south");
      await client.query("ROLLBACK");
      assert.equal(await place(client), "north");
      const { rowCount } = await client.query("DELETE FROM item WHERE name = 'kept'");
      assert.equal(rowCount, 1);
    });
  });

  test("reads through a cursor of the protocol", async () => {
    await using(await connected("south"), async (client) => {
      const cursor = client.query(new Cursor("SELECT n FROM generate_series(1, $1) n, place", [1000]));
      let seen = 0;
      for (let rows = await cursor.read(64); rows.length; rows = await cursor.read(64)) {
        rows.forEach((row) => assert.equal(row.n, (seen += 1)));
      }
      assert.equal(seen, 1000);
      const early = client.query(new Cursor("SELECT n FROM generate_series(1, 1000) n, place"));
      assert.equal((await early.read(5)).length, 5);
      await early.close();
      assert.equal(await place(client), "south");
    });
  });

  test("copies in and out", async () => {
    await using(await connected("north"), async (client) => {
      await client.query("CREATE TABLE copied (n int, word text)");
      const lines = Array.from({ length: 20000 }, (_, n) => `${n}\tword ${n}\n`);
      await pipeline(Readable.from(lines), client.query(copy.from("COPY copied FROM STDIN")));
      let text = "";
      for await (const chunk of client.query(copy.to("COPY (SELECT * FROM copied ORDER BY n) TO STDOUT"))) text += chunk;
      assert.equal(text, lines.join(""));
      await assert.rejects(
        pipeline(Readable.from(["no number\n"]), client.query(copy.from("COPY copied FROM STDIN"))), { code: "22P02" },
      );
      assert.equal(await place(client), "north");
    });
  });

  test("listens and hears", async () => {
    await using(await connected("north"), async (listening) => {
      await using(await connected("north"), async (speaking) => {
        await listening.query("LISTEN news");
        const heard = once(listening, "notification");
        await speaking.query("SELECT pg_notify('news', $1)", ["hello"]);
        const [{ channel, payload }] = await heard;
        assert.deepEqual([channel, payload], ["news", "hello"]);
      });
    });
  });

  test("hears notices", async () => {
    await using(await connected("north"), async (client) => {
      const heard = once(client, "notice");
      await client.query("DROP TABLE IF EXISTS never_there");
      assert.equal((await heard)[0].code, "00000");
    });
  });

  test("gives up after a statement's time", async () => {
    await using(await connected("south", { statement_timeout: 200 }), async (client) => {
      await assert.rejects(client.query("SELECT pg_sleep(60) FROM place"), { code: "57014" });
      assert.equal(await place(client), "south");
    });
  });

  test("pools", async () => {
    const pool = new pg.Pool({ max: 5, options: "-c search_path=south" });
    await using(pool, async () => {
      const work = async (number) => {
        const client = await pool.connect();
        try {
          const tenant = TENANTS[number % 2];
          await client.query("BEGIN");
          await client.query(`SET LOCAL search_path = ${tenant}`);
          assert.equal(await place(client), tenant);
          await client.query("COMMIT");
          assert.equal(await place(client), "south");
        } finally {
          client.release();
        }
      };
      await Promise.all(Array.from({ length: 100 }, (_, number) => work(number)));
    });
  });
});

describe("postgres.js", () => {
  const open = (tenant, more = {}) =>
    postgres({ max: 2, onnotice: () => {}, connection: { search_path: `${tenant},public` }, ...more });

  test("binds, nests and describes", async () => {
    await using(open("north"), async (sql) => {
      assert.deepEqual([...(await sql`SELECT name FROM place WHERE name = ${"north"}`)], [{ name: "north" }]);
      const columns = ["name", "n", "tags", "about"];
      const rows = [{ name: "p1", n: 1, tags: ["x"], about: sql.json({ a: 1 }) }, { name: "p2", n: 2, tags: [], about: null }];
      const made = await sql`INSERT INTO item ${sql(rows, columns)} RETURNING name, n, tags, about`;
      assert.deepEqual([...made], [
        { name: "p1", n: 1, tags: ["x"], about: { a: 1 } }, { name: "p2", n: 2, tags: [], about: null },
      ]);
      assert.equal((await sql`SELECT * FROM item WHERE name IN ${sql(["p1", "p2"])}`).length, 2);
      const described = await sql`SELECT n, name FROM item WHERE n = ${1}`.describe();
      assert.deepEqual(described.columns.map((column) => column.name), ["n", "name"]);
    });
  });

  test("pipelines without waiting", async () => {
    await using(open("south", { max: 1 }), async (sql) => {
      const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => sql`SELECT ${n}::int AS n, name FROM place`));
      answers.forEach(([row], n) => assert.deepEqual(row, { n, name: "south" }));
      const mixed = await Promise.allSettled([sql`SELECT 1 AS x`, sql`SELECT 1 / ${0}::int`, sql`SELECT 2 AS x`]);
      assert.deepEqual(mixed.map((one) => one.status), ["fulfilled", "rejected", "fulfilled"]);
      assert.equal(mixed[1].reason.code, "22012");
    });
  });

  test("runs transactions, savepoints and pipelines in them", async () => {
    await using(open("north"), async (sql) => {
      const count = async () => (await sql`SELECT count(*)::int AS n FROM item WHERE name LIKE 'tx%'`)[0].n;
      await sql.begin(async (tx) => {
        await tx`INSERT INTO item (name) VALUES ('tx1')`;
        await tx.savepoint((point) => point`INSERT INTO item (name) VALUES ('tx1')`).catch((error) => assert.equal(error.code, "23505"));
        await tx`INSERT INTO item (name) VALUES ('tx2')`;
      });
      assert.equal(await count(), 2);
      await assert.rejects(sql.begin((tx) => [tx`INSERT INTO item (name) VALUES ('tx3')`, tx`SELECT 1 / 0`]), { code: "22012" });
      assert.equal(await count(), 2);
    });
  });

  test("chooses a tenant within a transaction", async () => {
    await using(open("north", { max: 1 }), async (sql) => {
      for (const tenant of [...TENANTS, ...TENANTS]) {
        const [row] = await sql.begin(async (tx) => {
          await tx`SELECT set_config('search_path', ${tenant}, true)`;
          return tx`SELECT name FROM place`;
        });
        assert.equal(row.name, tenant);
        assert.equal((await sql`SELECT name FROM place`)[0].name, "north");
      }
    });
  });

  test("reads through a cursor, and for each row", async () => {
    await using(open("south"), async (sql) => {
      let seen = 0;
      await sql`SELECT n FROM generate_series(1, 1000) n, place`.cursor(100, (rows) => { seen += rows.length; });
      for await (const rows of sql`SELECT n FROM generate_series(1, 1000) n, place`.cursor(100)) {
        seen += rows.length;
        if (rows[0].n > 500) break;
      }
      assert.equal(seen, 1600);
      await sql`SELECT n FROM generate_series(1, 10) n`.forEach(() => { seen += 1; });
      assert.equal(seen, 1610);
    });
  });

  test("copies in and out", async () => {
    await using(open("south"), async (sql) => {
      await sql`CREATE TABLE pcopied (n int)`;
      await pipeline(Readable.from(["1\n", "2\n"]), await sql`COPY pcopied FROM STDIN`.writable());
      let text = "";
      for await (const chunk of await sql`COPY pcopied TO STDOUT`.readable()) text += chunk;
      assert.equal(text, "1\n2\n");
    });
  });

  test("listens and hears", async () => {
    await using(open("south"), async (sql) => {
      let hear;
      const heard = new Promise((resolve) => { hear = resolve; });
      const { unlisten } = await sql.listen("pnews", hear);
      await sql.notify("pnews", "hello");
      assert.equal(await heard, "hello");
      await unlisten();
    });
  });

  test("cancels", async () => {
    await using(open("south"), async (sql) => {
      const query = sql`SELECT pg_sleep(60) FROM place`.execute();
      setTimeout(() => query.cancel(), 300);
      await assert.rejects(query, { code: "57014" });
      assert.equal((await sql`SELECT name FROM place`)[0].name, "south");
    });
  });

  test("knows a tenant's own types", async () => {
    for (const tenant of TENANTS) {
      await using(open(tenant, { max: 1 }), async (sql) => {
        await sql.unsafe("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE moods (m mood, all_of mood[])");
        await sql`INSERT INTO moods VALUES (${"ok"}, ${"{ok,sad}"})`;
        assert.equal((await sql`SELECT * FROM moods`)[0].m, "ok");
      });
    }
  });
});

describe("knex", () => {
  const open = (searchPath) => {
    const knex = knexOf({ client: "pg", connection: {}, searchPath, pool: { min: 0, max: 3 } });
    knex.end = () => knex.destroy();
    return knex;
  };
  const migrations = {
    getMigrations: async () => ["1_first", "2_second"],
    getMigrationName: (name) => name,
    getMigration: async (name) =>
      name === "1_first"
        ? {
            up: (knex) =>
              knex.schema.createTable("kauthors", (table) => {
                table.increments();
                table.string("name").notNullable().unique();
              }),
            down: (knex) => knex.schema.dropTable("kauthors"),
          }
        : {
            up: (knex) =>
              knex.schema.createTable("kbooks", (table) => {
                table.increments();
                table.integer("author").references("kauthors.id").onDelete("CASCADE");
                table.jsonb("about");
                table.timestamps(true, true);
              }),
            down: (knex) => knex.schema.dropTable("kbooks"),
          },
  };

  test("migrates each tenant by its searchPath", async () => {
    for (const tenant of TENANTS) {
      await using(open([tenant, "public"]), async (knex) => {
        const [, made] = await knex.migrate.latest({ migrationSource: migrations });
        assert.deepEqual(made, ["1_first", "2_second"]);
        assert.deepEqual((await knex.migrate.latest({ migrationSource: migrations }))[1], []);
        assert.equal(await knex.schema.hasTable("kbooks"), true);
        assert.equal(await knex.schema.hasColumn("kbooks", "about"), true);
        assert.equal(await knex.schema.withSchema(tenant).hasTable("kauthors"), true);
        assert.equal(await knex.schema.hasTable("never"), false);
        await knex.migrate.rollback({ migrationSource: migrations });
        assert.equal(await knex.schema.hasTable("kbooks"), false);
        await knex.migrate.latest({ migrationSource: migrations });
      });
    }
  });

  test("queries, joins and writes", async () => {
    for (const tenant of TENANTS) {
      await using(open([tenant]), async (knex) => {
        const [{ id }] = await knex("kauthors").insert({ name: tenant }).returning("id");
        await knex("kbooks").insert([{ author: id, about: { by: tenant } }, { author: id }]);
        await knex("kauthors").insert({ name: tenant }).onConflict("name").merge();
        const rows = await knex("kbooks").join("kauthors", "kauthors.id", "kbooks.author").select("name").whereNotNull("about");
        assert.deepEqual(rows, [{ name: tenant }]);
        assert.deepEqual(await knex("kauthors").count("* as n").first(), { n: "1" });
      });
    }
  });

  test("names schemas with withSchema", async () => {
    await using(open(["north"]), async (knex) => {
      for (const tenant of [...TENANTS, ...TENANTS]) {
        assert.deepEqual(await knex.withSchema(tenant).select("name").from("place"), [{ name: tenant }]);
        const info = await knex.withSchema(tenant).table("place").columnInfo();
        assert.deepEqual(Object.keys(info), ["name"]);
      }
    });
  });

  test("runs transactions, nested and rolled back", async () => {
    await using(open(["south"]), async (knex) => {
      await knex.transaction(async (trx) => {
        await trx("item").insert({ name: "k1" });
        await trx.transaction(async (inner) => inner("item").insert({ name: "k1" })).catch((error) => assert.equal(error.code, "23505"));
        await trx("item").insert({ name: "k2" });
      });
      await assert.rejects(knex.transaction(async (trx) => {
        await trx("item").insert({ name: "k3" });
        throw new Error("regret");
      }), /regret/);
      assert.deepEqual(await knex("item").whereLike("name", "k%").orderBy("name").pluck("name"), ["k1", "k2"]);
    });
  });

  test("streams", async () => {
    await using(open(["north"]), async (knex) => {
      let seen = 0;
      for await (const row of knex.raw("SELECT n FROM generate_series(1, 2000) n, place").stream()) seen += row.n ? 1 : 0;
      assert.equal(seen, 2000);
    });
  });
});

