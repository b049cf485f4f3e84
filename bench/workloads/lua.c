// SPDX-License-Identifier: GPL-2.0-or-later
/* A script interpreter: Lua, with tables, strings, closures and a little arithmetic. */
#include "programs.h"

#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>
#include <stddef.h>

static const char script[] =
	"local round = ...\n"
	"local function counter(step)\n"
	"	local at = round\n"
	"	return function() at = at + step; return at end\n"
	"end\n"
	"local a, b = counter(3), counter(7)\n"
	"local words, seen, sum = {}, {}, 0\n"
	"for i = 1, 300 do\n"
	"	local word = 'w' .. (a() * 17 % 101) .. string.char(97 + i % 26)\n"
	"	words[#words + 1] = word\n"
	"	seen[word] = (seen[word] or 0) + b()\n"
	"end\n"
	"table.sort(words, function(x, y) if #x ~= #y then return #x < #y end; return x < y end)\n"
	"for i, word in ipairs(words) do sum = (sum * 31 + seen[word] * i) % 1000000007 end\n"
	"local text = table.concat(words, ' '):gsub('(%a)(%d+)', '%2%1')\n"
	"for number in text:gmatch('%d+') do sum = (sum + tonumber(number)) % 1000000007 end\n"
	"local point = {}\n"
	"point.__index = point\n"
	"function point.new(x, y) return setmetatable({ x = x, y = y }, point) end\n"
	"function point:plus(other) return point.new(self.x + other.x, self.y * 0.5 + other.y) end\n"
	"local p = point.new(0, 0)\n"
	"for i = 1, 500 do p = p:plus(point.new(i % 13, i / 4)) end\n"
	"local function fib(n) if n < 2 then return n end; return fib(n - 1) + fib(n - 2) end\n"
	"return math.floor(sum + p.x + p.y * 1024 + fib(14))\n";

uint64_t run_lua(uint64_t n)
{
	lua_State *l = luaL_newstate();
	uint64_t sum = 0;

	must(l != NULL, "luaL_newstate");
	luaL_openlibs(l);
	must(luaL_loadstring(l, script) == LUA_OK, "luaL_loadstring");
	while (n--) {
		lua_pushvalue(l, -1);
		lua_pushinteger(l, (lua_Integer)(n % 1000));
		must(lua_pcall(l, 1, 1, 0) == LUA_OK, "lua_pcall");
		sum = sum * 31 + (uint64_t)lua_tointeger(l, -1);
		lua_pop(l, 1);
	}
	lua_close(l);
	return sum;
}
