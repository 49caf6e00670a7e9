-- For wrk: leads with ids of their own, and the answers that were 202, a line
-- each, in the folder that is named after "--".
local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

function init(args)
  sent = 0
  accepted = assert(io.open(args[1] .. "/accepted." .. id, "w"))
  wrk.headers["Authorization"] = "Bearer " .. args[2]
  wrk.headers["Content-Type"] = "application/cloudevents+json"
end

function request()
  sent = sent + 1
  local name = "wrk-" .. id .. "-" .. sent
  return wrk.format("POST", nil, nil, '{"specversion":"1.0","type":"lead.created","source":"/crm","id":"' .. name ..
    '","data":{"id":"' .. name .. '","phone":"+14155550100"}}')
end

function response(status, headers, body)
  if status == 202 then
    accepted:write(body) -- ends with a line feed
    accepted:flush()
  end
end
