"""A client of the gateway."""

from innkeeper.gateway.client.gateway_client import LOG_RESTARTED as LOG_RESTARTED
from innkeeper.gateway.client.gateway_client import GatewayAway as GatewayAway
from innkeeper.gateway.client.gateway_client import GatewayClient as GatewayClient
from innkeeper.gateway.client.gateway_client import GatewayRefused as GatewayRefused
from innkeeper.gateway.client.gateway_client import InvalidAddress as InvalidAddress
from innkeeper.gateway.client.gateway_client import checked_url as checked_url
from innkeeper.gateway.client.gateway_client import is_final as is_final
from innkeeper.gateway.client.gateway_client import warnings_of as warnings_of
