// SPDX-License-Identifier: GPL-2.0-or-later
/* SQLite in memory: tables, rows inserted in a transaction, an index, selections that join, group and sort. */
#include "programs.h"

#include <sqlite3.h>
#include <stddef.h>

static void execute(sqlite3 *db, const char *sql)
{
	must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
}

static sqlite3_stmt *statement(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	must(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK, sqlite3_errmsg(db));
	return s;
}

static void insert(sqlite3 *db, uint64_t seed)
{
	sqlite3_stmt *person = statement(db, "INSERT INTO person VALUES (?1, printf('name %d', ?2), ?3)");
	sqlite3_stmt *order = statement(db, "INSERT INTO purchase (person, amount, what) VALUES (?1, ?2, 'thing ' || ?3)");

	execute(db, "BEGIN");
	for (int i = 0; i < 100; i++) {
		sqlite3_bind_int(person, 1, i);
		sqlite3_bind_int(person, 2, (int)(next_random(&seed) % 100000));
		sqlite3_bind_int(person, 3, i % 7);
		must(sqlite3_step(person) == SQLITE_DONE, "insert");
		sqlite3_reset(person);
	}
	for (int i = 0; i < 400; i++) {
		sqlite3_bind_int(order, 1, (int)(next_random(&seed) % 100));
		sqlite3_bind_int(order, 2, (int)(next_random(&seed) % 1000));
		sqlite3_bind_int(order, 3, i % 50);
		must(sqlite3_step(order) == SQLITE_DONE, "insert");
		sqlite3_reset(order);
	}
	execute(db, "COMMIT");
	sqlite3_finalize(person);
	sqlite3_finalize(order);
}

/* Adds up all columns of all rows that @sql gives. */
static uint64_t rows(sqlite3 *db, const char *sql, int argument)
{
	sqlite3_stmt *s = statement(db, sql);
	uint64_t sum = 0;

	sqlite3_bind_int(s, 1, argument);
	while (sqlite3_step(s) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(s); i++)
			sum = sum * 31 + (uint64_t)sqlite3_column_int64(s, i) + (uint64_t)sqlite3_column_bytes(s, i);
	must(sqlite3_finalize(s) == SQLITE_OK, sqlite3_errmsg(db));
	return sum;
}

uint64_t run_sqlite(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		sqlite3 *db;

		must(sqlite3_open(":memory:", &db) == SQLITE_OK, "sqlite3_open");
		execute(db, "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER);"
			    "CREATE TABLE purchase (id INTEGER PRIMARY KEY, person INTEGER, amount INTEGER, what TEXT)");
		insert(db, n + 1);
		execute(db, "CREATE INDEX purchase_person ON purchase (person)");
		for (int town = 0; town < 7; town++)
			sum += rows(db, "SELECT name, sum(amount), count(*) FROM person JOIN purchase ON person.id = purchase.person"
					" WHERE town = ?1 GROUP BY person.id ORDER BY 2 DESC, 1", town);
		for (int i = 0; i < 20; i++)
			sum = sum * 7 + rows(db, "SELECT amount, what FROM purchase WHERE person = ?1 ORDER BY amount, id", i * 5);
		sum += rows(db, "SELECT what, max(amount) FROM purchase WHERE what LIKE '%g 1%' AND amount > ?1 GROUP BY what", 10);
		execute(db, "UPDATE purchase SET amount = amount + 1 WHERE person % 3 = 0; DELETE FROM purchase WHERE amount < 100");
		sum = sum * 7 + rows(db, "SELECT count(*), sum(amount) FROM purchase WHERE id > ?1", 0);
		sqlite3_close(db);
	}
	return sum;
}
