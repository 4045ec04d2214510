-- Asks dop_be's gate about a request: loaded by haproxy.cfg, whose frontend `gate` listens at GATE.

local GATE = "http://127.0.0.1:8001/gate"
local WAIT = 2500 -- milliseconds; the backend dop_be has shorter ones, this is the last resort

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

local function question(txn)
    local theirs = txn.http:req_get_headers()
    local headers = { ["x-forwarded-method"] = { txn.sf:method():sub(1, LONGEST) } }
    for _, name in ipairs(ASKED) do
        local value = theirs[name] and theirs[name][0]
        if value and #value <= LONGEST then
            headers[name] = { value }
        end
    end
    headers["cookie"] = bypasses(theirs["cookie"])
    return headers
end

local function verdict(answer)
    if answer.status == 200 then
        return "open"
    end
    -- A fault of dop_be is a dead gate, and so is a 503 of HAProxy's own; whatever else is said is a refusal.
    local status = answer.status or 0
    local said = status == 503 and answer.headers["x-gate"] or status >= 200 and status < 500
    return said and "closed" or "dead"
end

-- Sets txn.gate to open, closed or dead, and keeps the answer for the service below.
core.register_action("ask_gate", { "http-req" }, function(txn)
    local answer = core.httpclient():get { url = GATE, headers = question(txn), timeout = WAIT }
    local starts = answer.headers and answer.headers["x-maintenance-starts"]
    if starts then
        txn:set_var("txn.maintenance_starts", starts[0])
    end
    txn:set_var("txn.gate", verdict(answer))
    txn:set_priv(answer)
end)

-- Gives a refused visitor what dop_be answered, headers and all.
core.register_service("refuse", "http", function(applet)
    local answer = applet:get_priv()
    applet:set_status(answer.status)
    for name, values in pairs(answer.headers) do
        for _, value in pairs(values) do
            if name ~= "x-gate" then
                applet:add_header(name, value)
            end
        end
    end
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(answer.body)
    end
end)
