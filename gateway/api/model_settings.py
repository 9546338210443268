"""Channels and models of `channels.yaml`, as ComfyTavern's page for models asks for them: read only."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models import model_settings as models
from innkeeper.gateway.api.responses import answer, errors, list_of
from innkeeper.gateway.container import container_of
from innkeeper.gateway.errors import NotEditable, NotFound, json_response, shown
from innkeeper.gateway.moments import iso_of
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.redaction import MASK
from innkeeper.nodes.services.channel_book import read_channel_file
from innkeeper.nodes.services.channel_file import CHANNELS_FILE
from innkeeper.nodes.services.channels import Channel, ChannelConfig, Model

router = APIRouter(prefix="/api/llm", tags=["models"], default_response_class=Response)

UNUSABLE = {409: "channels_unusable"}


class ChannelsUnusable(InnkeeperError):
    """`channels.yaml` has an error, so no channel of it is used."""

    code = "channels_unusable"


@router.get(
    "/providers",
    summary="Protocols that channels may speak",
    responses=answer("The protocols.", list_of(models.Provider)) | errors(),
)
async def list_providers() -> Response:
    return json_response(await asyncio.to_thread(_providers))


@router.get(
    "/channels",
    summary="The operator's channels, without their keys",
    description="Channels are set up in `channels.yaml` of the data directory: changes over HTTP are refused (409).",
    responses=answer("The channels, as they stand in the file.", list_of(models.Channel)) | errors(UNUSABLE),
)
async def list_channels(request: Request) -> Response:
    user, config = container_of(request).settings.user, await _config(request)
    return json_response([_channel_json(channel, user) for channel in config.channels])


@router.get(
    "/channels/{channel}/list-models",
    summary="Models that the file says a channel has",
    responses=answer("The models.", list_of(models.ChannelModel)) | errors({**UNUSABLE, 404: "not_found"}),
)
async def list_channel_models(
    channel: Annotated[str, Path(description="Id of the channel.")], request: Request
) -> Response:
    config = await _config(request)
    found = next((item for item in config.channels if item.id == channel), None)
    if found is None:
        raise NotFound(f"there is no channel {shown(channel)}; GET /api/llm/channels lists them")
    listed = [model.model_id for model in config.models if found.supports(model.model_id)]
    return json_response([{"id": model} for model in dict.fromkeys([*found.supported_models, *listed])])


@router.get(
    "/models",
    summary="The operator's models",
    description="Models are set up in `channels.yaml` of the data directory: changes over HTTP are refused (409).",
    responses=answer("The models, as they stand in the file.", list_of(models.Model)) | errors(UNUSABLE),
)
async def list_models(request: Request) -> Response:
    user, config = container_of(request).settings.user, await _config(request)
    return json_response([_model_json(model, user) for model in config.models])


# These only refuse, so the OpenAPI document leaves them out.
@router.post("/channels", include_in_schema=False)
@router.put("/channels/{name:path}", include_in_schema=False)
@router.delete("/channels/{name:path}", include_in_schema=False)
@router.post("/channels/{name}/discover-models", include_in_schema=False)
@router.post("/models", include_in_schema=False)
@router.put("/models/{name:path}", include_in_schema=False)
@router.delete("/models/{name:path}", include_in_schema=False)
async def refuse_change() -> Response:
    raise NotEditable(
        f"channels and models are set up in {CHANNELS_FILE} of the data directory, not over HTTP: edit that file; "
        "`innkeeper channels` checks it and asks the servers"
    )


async def _config(request: Request) -> ChannelConfig:
    file = container_of(request).settings.data_dir / CHANNELS_FILE
    content = await asyncio.to_thread(read_channel_file, file)
    if content.config is None:
        raise ChannelsUnusable(f"{CHANNELS_FILE} has an error, so no channel is used: {content.errors[0]}")
    return content.config


def _providers() -> list[dict[str, str]]:
    # Loaded here, in a thread: it takes half a second, and only this question needs it.
    from innkeeper.nodes.services.llm import built_in_adapters

    return [{"id": kind.name, "name": kind.display_name} for kind in built_in_adapters()]


def _channel_json(channel: Channel, user: str) -> dict[str, Any]:
    return {
        "id": channel.id,
        "userId": user,
        "label": channel.label or channel.id,
        "providerId": channel.adapter_type,
        "adapterType": channel.adapter_type,
        "baseUrl": channel.base_url,
        "apiKey": MASK if channel.api_key else "",
        "storageMode": "encrypted",
        "supportedModels": list(channel.supported_models),
        "disabled": channel.disabled,
        **({"createdAt": iso_of(channel.created_at)} if channel.created_at else {}),
    }


def _model_json(model: Model, user: str) -> dict[str, Any]:
    optional = {"groupName": model.group_name, "defaultChannelRef": model.default_channel_ref}
    return {
        "modelId": model.model_id,
        "userId": user,
        "displayName": model.display_name or model.model_id,
        "capabilities": sorted(model.offers),
        "modelType": model.model_type,
        "tags": list(model.tags),
        **{key: value for key, value in optional.items() if value},
    }
