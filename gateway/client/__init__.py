"""A small client of the gateway: submit a run, watch its events through every interruption, ask, cancel.

    async with GatewayClient("http://127.0.0.1:8090") as client:
        run_id = await client.submit(json.loads(Path("story.json").read_text()))
        async for event in client.events(run_id):
            print(event["seq"], event["type"], event["payload"])
        print((await client.status(run_id))["outputs"])

Whatever falls away in between (the connection, the gateway, a worker) is waited for and made up for: each event comes
once and in order. Two kinds of events take something back: NODE_STREAM_RESET (the chunks of that node are void, a new
attempt begins) and LOG_RESTARTED (everything is void, all events come again).
"""

from innkeeper.gateway.client.approvals import Approvals as Approvals
from innkeeper.gateway.client.event_stream import ENDED as ENDED
from innkeeper.gateway.client.event_stream import LOG_RESTARTED as LOG_RESTARTED
from innkeeper.gateway.client.event_stream import Event as Event
from innkeeper.gateway.client.event_stream import Events as Events
from innkeeper.gateway.client.event_stream import is_final as is_final
from innkeeper.gateway.client.files import Files as Files
from innkeeper.gateway.client.gateway_client import GatewayClient as GatewayClient
from innkeeper.gateway.client.library import ANY_VERSION as ANY_VERSION
from innkeeper.gateway.client.library import Projects as Projects
from innkeeper.gateway.client.library import StoredDocument as StoredDocument
from innkeeper.gateway.client.library import Version as Version
from innkeeper.gateway.client.library import Workflows as Workflows
from innkeeper.gateway.client.library import run_of_stored as run_of_stored
from innkeeper.gateway.client.transport import GatewayAway as GatewayAway
from innkeeper.gateway.client.transport import GatewayRefused as GatewayRefused
from innkeeper.gateway.client.transport import InvalidAddress as InvalidAddress
from innkeeper.gateway.client.transport import InvalidTriggerDefinition as InvalidTriggerDefinition
from innkeeper.gateway.client.transport import LibraryConflict as LibraryConflict
from innkeeper.gateway.client.transport import PreconditionRequired as PreconditionRequired
from innkeeper.gateway.client.transport import VersionMismatch as VersionMismatch
from innkeeper.gateway.client.transport import checked_url as checked_url
from innkeeper.gateway.client.transport import warnings_of as warnings_of
from innkeeper.gateway.client.triggers import Triggers as Triggers
from innkeeper.gateway.client.triggers import etag_of as etag_of
