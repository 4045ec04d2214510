-- Asks dop_be's gate about requests and keeps the last verdicts: loaded by haproxy.cfg, whose frontend `gate` is GATE.

local DOP_BE = "http://127.0.0.1:8001"
local WAIT = 2500 -- milliseconds; the backend dop_be has shorter ones, this is the last resort

-- A verdict is kept for a second, as dop_be's answer says, and for so many seconds more while dop_be is dead.
local KEEP = 60

-- Who may be let through in maintenance is asked about each time. With true everybody is, and a flip shows within
-- milliseconds.
local ASK_EVERY_TIME = false

-- Origins whose pages may read what a refused visitor gets while dop_be is dead, as dop_be's CORS_ORIGINS.
local ORIGINS = {
    -- "https://app.example.com",
}

-- What dop_be decides by. The platform's secrets do not go along.
local ASKED = {
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    "accept", "origin", "access-control-request-method", "x-maintenance-bypass",
}

-- Longer values are left out: together they must fit into HAProxy's buffer, or asking fails like a dead gate, and a
-- visitor could open a gate that fails open.
local LONGEST = 1000

-- Up to four bypass cookies, since another host of the domain may have planted one before the visitor's own.
local MOST_BYPASSES = 4

-- Returns the path that is asked about this visitor: a component's, where haproxy.cfg has found one.
local function gate_of(txn)
    local component = txn:get_var("txn.component")
    return DOP_BE .. (component and "/gate/component/" .. component or "/gate") .. "?deny=403"
end

-- Returns the name of the variable that keeps the last verdict: its letters are those of kinds and components, but for a hyphen.
local function place_of(txn, kind)
    return "proc.dop_be_" .. kind .. "." .. (txn:get_var("txn.component") or ""):gsub("-", "_")
end

-- The last verdict on each kind of request and each component is kept where all of HAProxy's threads see it: a variable of the process, with
-- the times until which it is fresh and until which it goes on. Nothing that a visitor sent gets in there.
local function remember(txn, kind, verdict)
    local text = ("%s %f %f %s"):format(verdict.gate, verdict.fresh_until, verdict.over_at, verdict.starts or "")
    txn:set_var(place_of(txn, kind), text)
end

local function remembered(txn, kind)
    local text = txn:get_var(place_of(txn, kind))
    if text then
        local gate, fresh_until, over_at, starts = text:match("^(%a+) ([%d.]+) ([%d.]+) (.*)$")
        return {
            gate = gate, fresh_until = tonumber(fresh_until), over_at = tonumber(over_at),
            starts = starts ~= "" and starts or nil,
        }
    end
end

local function first(headers, name)
    return headers[name] and headers[name][0]
end

local function bypasses(cookies)
    local found = {}
    for _, value in pairs(cookies or {}) do
        for token in (";" .. value):gmatch(";[ \t]*maintenance_bypass=(dop_[%w_]+)") do
            if #found < MOST_BYPASSES and #token <= LONGEST then
                found[#found + 1] = "maintenance_bypass=" .. token
            end
        end
    end
    return #found > 0 and { table.concat(found, "; ") } or nil
end

-- The question about this visitor.
local function question(method, theirs)
    local headers = { ["x-forwarded-method"] = { method:sub(1, LONGEST) } }
    for _, name in ipairs(ASKED) do
        local value = first(theirs, name)
        if value and #value <= LONGEST then
            headers[name] = { value }
        end
    end
    headers["cookie"] = bypasses(theirs["cookie"])
    return headers
end

-- The kind of a request is the method that is asked about: reads, writes and CORS preflights.
local function kind_of(method, theirs)
    if method == "OPTIONS" and theirs["origin"] and theirs["access-control-request-method"] then
        return "OPTIONS"
    end
    return (method == "GET" or method == "HEAD" or method == "OPTIONS") and "GET" or "POST"
end

-- Returns the visitor's path without doubled slashes, dot segments and characters that need not be encoded.
core.register_fetches("tidied_path", function(txn)
    local path = txn.sf:url():gsub("^%a[%w+.-]*://[^/?#]*", ""):match("^[^?#]*")
    path = path:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
    local segments = {}
    for segment in path:gmatch("[^/]+") do
        if segment == ".." then
            table.remove(segments)
        elseif segment ~= "." then
            segments[#segments + 1] = segment
        end
    end
    local slash = #segments > 0 and path:find("/%.?%.?$") and "/" or ""
    local tidied = "/" .. table.concat(segments, "/") .. slash
    return (tidied:gsub("[^%w/._~!$&'()*+,;=:@-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end)

-- Returns dop_be's answer and the verdict in it; nil while dop_be is dead, and an error (5xx) is a dead gate too.
-- Whatever else is said is a refusal, or a visitor could get in by a header that dop_be does not take.
local function ask(url, headers)
    local answer = core.httpclient():get { url = url, headers = headers, timeout = WAIT }
    local status = answer.status or 0
    if status < 200 or status >= 500 then
        return nil
    end
    local starts = first(answer.headers, "x-maintenance-starts")
    return answer, { gate = status == 200 and "open" or "closed", starts = starts }
end

local function seconds()
    local now = core.now()
    return now.sec + now.usec / 1000000
end

-- Returns the last verdict on this kind of request, asked for anew where it is too old; nil where dop_be has been dead
-- for too long.
local function last_verdict(txn, kind, address)
    local now, last = seconds(), remembered(txn, kind)
    if last and now < last.fresh_until then
        return last
    end
    local answer, verdict = ask(gate_of(txn) .. "&keep=" .. KEEP, {
        ["x-forwarded-method"] = { kind },
        ["x-forwarded-for"] = { address }, -- dop_be lets nothing be kept that an address decided
        ["origin"] = { "http://preflight.invalid" }, -- for OPTIONS, which without these is no preflight
        ["access-control-request-method"] = { "GET" },
    })
    if answer then
        local control = first(answer.headers, "cache-control") or ""
        local age, more = control:match("^max%-age=(%d+), stale%-if%-error=(%d+)$")
        if age then
            verdict.fresh_until = now + age
            verdict.over_at = now + age + more
            last = remembered(txn, kind) -- another visitor may have asked later and heard earlier
            if not last or last.fresh_until <= verdict.fresh_until then
                remember(txn, kind, verdict)
            end
        end
        return verdict
    end
    return last and now < last.over_at and last or nil
end

-- Sets txn.gate to open, closed or dead, and keeps dop_be's answer to a refused visitor for the service below.
core.register_action("ask_gate", { "http-req" }, function(txn)
    local theirs, method = txn.http:req_get_headers(), txn.sf:method()
    local own, answer, verdict = question(method, theirs), nil, nil
    if ASK_EVERY_TIME or own["cookie"] or theirs["x-maintenance-bypass"] or txn:get_var("txn.insider") then
        answer, verdict = ask(gate_of(txn), own)
    end
    verdict = verdict or last_verdict(txn, kind_of(method, theirs), first(theirs, "x-forwarded-for"))
    if verdict and verdict.gate == "closed" and not answer then
        answer = ask(gate_of(txn), own)
    end
    if verdict and verdict.starts then
        txn:set_var("txn.maintenance_starts", verdict.starts)
    end
    txn:set_var("txn.gate", verdict and verdict.gate or "dead")
    txn:set_priv(answer)
end)

-- What a refused visitor gets while dop_be is dead.
local function unavailable(theirs)
    local text = "The service is unavailable for a moment."
    local headers = {
        ["retry-after"] = { "5" }, ["cache-control"] = { "no-store" }, ["vary"] = { "Accept, Origin" },
        ["content-type"] = { "application/problem+json" }, ["access-control-expose-headers"] = { "Retry-After" },
    }
    for _, origin in ipairs(ORIGINS) do
        if origin == first(theirs, "origin") then
            headers["access-control-allow-origin"] = { origin }
        end
    end
    local body = '{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"' .. text
        .. '","code":"unavailable"}\n'
    if (first(theirs, "accept") or ""):lower():find("text/html", 1, true) then
        headers["content-type"] = { "text/html; charset=utf-8" }
        body = '<!doctype html><html lang="en"><title>Unavailable</title><p>' .. text .. "</p></html>\n"
    end
    headers["content-length"] = { tostring(#body) }
    return { status = 503, headers = headers, body = body }
end

-- Follows a bypass link, and keeps dop_be's answer for the service below.
core.register_action("follow_link", { "http-req" }, function(txn)
    local headers = question(txn.sf:method(), txn.http:req_get_headers())
    headers["cookie"] = nil
    local answer = core.httpclient():get { url = DOP_BE .. txn.f:pathq(), headers = headers, timeout = WAIT }
    txn:set_priv(answer.status and answer.status < 500 and answer or nil)
end)

-- Gives a visitor what dop_be answered, headers and all, and 503 in place of a refusal's 403.
core.register_service("answer", "http", function(applet)
    local answer = applet:get_priv() or unavailable(applet.headers)
    applet:set_status(answer.status == 403 and 503 or answer.status)
    if answer.status == 200 then -- the gate opened after it had refused: the visitor may come back at once
        applet:set_status(503)
        applet:add_header("retry-after", "1")
    end
    for name, values in pairs(answer.headers) do
        for _, value in pairs(values) do
            applet:add_header(name, value)
        end
    end
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(answer.body)
    end
end)
