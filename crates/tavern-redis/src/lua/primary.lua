-- Stands before every script. Who the server is, is asked in the same step: what a connection once
-- learnt of it may not be true any more, as a server that is made a replica keeps its connections.
local replication = redis.call('INFO', 'replication')
if not string.find(replication, 'role:master', 1, true) then return {'replica'} end
-- Another one after each start and each promotion, and whenever a replica could not go on from here.
local incarnation = string.match(replication, 'master_replid:(%x+)')
