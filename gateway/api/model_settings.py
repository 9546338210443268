"""Channels and models, as ComfyTavern's page for models asks for them: those of `channels.yaml` to read, the user's own
to make and change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from innkeeper.gateway.api.models import model_settings as models
from innkeeper.gateway.api.responses import answer, errors, json_body, list_of, request_headers
from innkeeper.gateway.container import Container, container_of
from innkeeper.gateway.errors import NotFound, json_response, shown
from innkeeper.gateway.moments import iso_of
from innkeeper.gateway.runs.admission import read_body
from innkeeper.gateway.storage.channel_store import InvalidChannel, etag_of
from innkeeper.nodes.catalogue.plugins import PluginAdapter
from innkeeper.nodes.errors import InnkeeperError, RequestRefused
from innkeeper.nodes.hosts import is_demo_model
from innkeeper.nodes.process.redaction import MASK
from innkeeper.nodes.services.channel_book import key_of
from innkeeper.nodes.services.channels import Channel, ChannelConfig, Model, ModelTraits, UserChannel, UserModel

router = APIRouter(prefix="/api/llm", tags=["models"], default_response_class=Response)

UNUSABLE = "channels_unusable channels_damaged"
READ_ERRORS = {409: UNUSABLE}
NEW_ERRORS = {
    **{400: "bad_request malformed_json", 409: f"{UNUSABLE} id_taken too_many_channels"},
    **{422: "invalid_channel", 507: "storage_failed"},
}
CHANGE_ERRORS = {
    **{400: "bad_request malformed_json", 404: "not_found", 409: f"{UNUSABLE} not_editable too_many_channels"},
    **{412: "version_mismatch", 422: "invalid_channel", 507: "storage_failed"},
}
DELETE_ERRORS = {404: "not_found", 409: f"{UNUSABLE} not_editable", 412: "version_mismatch", 507: "storage_failed"}
IF_MATCH = request_headers({"If-Match": "`etag` of the version that is to be changed; without it, any."})
ETAG = {"ETag": "Names this version."}
EVERYWHERE = ("0.0.0.0", "::", "")
A_CHANNEL = "what is said of a channel"
A_MODEL = "what is said of a model"

ChannelId = Annotated[str, Path(description="Id of the channel.")]
ModelId = Annotated[str, Path(description="Id of the model; slashes in it are escaped, or not.")]


class ModelsNotListed(InnkeeperError):
    """The server of a channel does not say what it has."""

    code = "models_not_listed"


@router.get(
    "/providers",
    summary="Protocols that channels may speak",
    responses=answer("The protocols.", list_of(models.Provider)) | errors(),
)
async def list_providers(request: Request) -> Response:
    adapters = await _adapters(container_of(request))
    return json_response([{"id": kind, "name": name} for kind, name in adapters.items()])


@router.get(
    "/channels",
    summary="The operator's channels and the user's own, without their keys",
    responses=answer("The channels.", list_of(models.Channel)) | errors(READ_ERRORS),
)
async def list_channels(request: Request) -> Response:
    user, config = container_of(request).settings.user, await _config(request)
    return json_response([_channel_json(channel, user) for channel in config.channels])


@router.post(
    "/channels",
    status_code=201,
    summary="Make a channel of one's own. It reaches what an address in a workflow may reach",
    responses=answer("The channel.", models.Channel, status=201, headers=ETAG) | errors(NEW_ERRORS),
    openapi_extra=json_body(models.ChannelChange, "The channel; `baseUrl` is needed."),
)
async def create_channel(request: Request) -> Response:
    container, given = container_of(request), await read_body(await request.body(), A_CHANNEL)
    await _check_adapter(given, container)
    channel = await asyncio.to_thread(container.channels.add_channel, container.settings.user, given)
    return _changed(_channel_json(channel, container.settings.user), 201)


@router.put(
    "/channels/{channel}",
    summary="Change a channel of one's own. A key that is not sent stays",
    responses=answer("The channel as it is now.", models.Channel, headers=ETAG) | errors(CHANGE_ERRORS),
    openapi_extra=json_body(models.ChannelChange, "What is new of the channel.") | IF_MATCH,
)
async def put_channel(channel: ChannelId, request: Request) -> Response:
    container, given = container_of(request), await read_body(await request.body(), A_CHANNEL)
    await _check_adapter(given, container)
    user, seen = container.settings.user, request.headers.get("if-match")
    changed = await asyncio.to_thread(container.channels.change_channel, user, channel, given, seen)
    return _changed(_channel_json(changed, user))


@router.delete(
    "/channels/{channel}",
    status_code=204,
    summary="Delete a channel of one's own",
    responses=answer("It is gone.", status=204) | errors(DELETE_ERRORS),
    openapi_extra=IF_MATCH,
)
async def delete_channel(channel: ChannelId, request: Request) -> Response:
    container, seen = container_of(request), request.headers.get("if-match")
    await asyncio.to_thread(container.channels.remove_channel, container.settings.user, channel, seen)
    return Response(status_code=204)


@router.get(
    "/channels/{channel}/list-models",
    summary="Models that are known to be on a channel",
    responses=answer("The models.", list_of(models.ChannelModel)) | errors({**READ_ERRORS, 404: "not_found"}),
)
async def list_channel_models(channel: ChannelId, request: Request) -> Response:
    config = await _config(request)
    found = _found(channel, config)
    listed = [model.model_id for model in config.models if found.supports(model.model_id)]
    return json_response([{"id": model} for model in dict.fromkeys([*found.supported_models, *listed])])


@router.post(
    "/channels/{channel}/discover-models",
    summary="Ask the server of a channel which models it has",
    responses=answer("The models, as the server names them.", list_of(models.ChannelModel))
    | errors({403: "request_refused", 404: "not_found", 409: UNUSABLE, 502: "models_not_listed"}),
)
async def discover_models(channel: ChannelId, request: Request) -> Response:
    container, config = container_of(request), await _config(request)
    found = _found(channel, config)
    if is_demo_model(found.base_url):
        from innkeeper.gateway.api.demo_answers import ANSWERS

        return json_response([{"id": name} for name in ANSWERS])
    try:
        names = await _asked(found, container)
    except RequestRefused:
        raise
    except InnkeeperError as error:
        raise ModelsNotListed(error.message, details={"reason": error.code}) from error
    return json_response([{"id": name} for name in names])


@router.get(
    "/models",
    summary="The operator's models and the user's own",
    responses=answer("The models.", list_of(models.Model)) | errors(READ_ERRORS),
)
async def list_models(request: Request) -> Response:
    user, config = container_of(request).settings.user, await _config(request)
    return json_response([_model_json(model, user) for model in config.models])


@router.post(
    "/models",
    status_code=201,
    summary="List a model of one's own",
    responses=answer("The model.", models.Model, status=201, headers=ETAG) | errors(NEW_ERRORS),
    openapi_extra=json_body(models.ModelChange, "The model; `modelId` is needed."),
)
async def create_model(request: Request) -> Response:
    container, given = container_of(request), await read_body(await request.body(), A_MODEL)
    model = await asyncio.to_thread(container.channels.add_model, container.settings.user, given)
    return _changed(_model_json(model, container.settings.user), 201)


@router.put(
    "/models/{model:path}",
    summary="Change a model of one's own",
    responses=answer("The model as it is now.", models.Model, headers=ETAG) | errors(CHANGE_ERRORS),
    openapi_extra=json_body(models.ModelChange, "What is new of the model.") | IF_MATCH,
)
async def put_model(model: ModelId, request: Request) -> Response:
    container, given = container_of(request), await read_body(await request.body(), A_MODEL)
    user, seen = container.settings.user, request.headers.get("if-match")
    changed = await asyncio.to_thread(container.channels.change_model, user, model, given, seen)
    return _changed(_model_json(changed, user))


@router.delete(
    "/models/{model:path}",
    status_code=204,
    summary="Take a model of one's own off the list",
    responses=answer("It is gone.", status=204) | errors(DELETE_ERRORS),
    openapi_extra=IF_MATCH,
)
async def delete_model(model: ModelId, request: Request) -> Response:
    container, seen = container_of(request), request.headers.get("if-match")
    await asyncio.to_thread(container.channels.remove_model, container.settings.user, model, seen)
    return Response(status_code=204)


async def _config(request: Request) -> ChannelConfig:
    container = container_of(request)
    return await asyncio.to_thread(container.channels.config, container.settings.user)


def _found(name: str, config: ChannelConfig) -> Channel:
    found = next((item for item in config.channels if item.id == name), None)
    if found is None:
        raise NotFound(f"there is no channel {shown(name)}; GET /api/llm/channels lists them")
    return found


async def _adapters(container: Container) -> dict[str, str]:
    """Names of protocols to what people call them; with those of plugins."""

    def load() -> dict[str, str]:
        # Loaded here, in a thread: it takes a while, and few questions need it.
        from innkeeper.nodes.services.llm.registry import built_in_adapters

        return {kind.name: kind.display_name for kind in built_in_adapters()}

    of_plugins = {adapter.name: adapter.display_name for adapter in container.catalogue.adapters}
    return {**await asyncio.to_thread(load), **of_plugins}


async def _check_adapter(given: Mapping[str, Any], container: Container) -> None:
    name = given.get("adapterType") or given.get("providerId")
    if isinstance(name, str) and name not in (known := await _adapters(container)):
        raise InvalidChannel([f"adapterType {shown(name)} is not known; types are {', '.join(known)}"])


async def _asked(channel: Channel, container: Container) -> tuple[str, ...]:
    key = await asyncio.to_thread(key_of, channel, container.secrets, os.environ)
    await _adapters(container)
    from innkeeper.nodes.services.http import AddressPolicy
    from innkeeper.nodes.services.llm.model_lists import models_of, network_of

    def plugins() -> tuple[PluginAdapter, ...]:
        return container.catalogue.adapters

    if not isinstance(channel, UserChannel):
        # The operator has named it, wherever it is.
        named = AddressPolicy(allowed_hosts=frozenset({channel.connects_to}))
        return await models_of(channel, key, named, network_of(os.environ), plugins=plugins)
    settings = container.settings
    policy = AddressPolicy(
        allow_loopback=settings.allow_loopback,
        allow_private=settings.allow_private,
        allowed_hosts=frozenset(settings.node_allowed_hosts),
        gateway=("localhost" if settings.host in EVERYWHERE else settings.host, settings.port),
        closed=frozenset({container.temporal.endpoint}),
    )
    return await models_of(channel, key, policy, network_of(os.environ), plugins=plugins)


def _changed(entry: dict[str, Any], status: int = 200) -> Response:
    return json_response(entry, status, {"ETag": entry["etag"]})


def _channel_json(channel: Channel, user: str) -> dict[str, Any]:
    headers = {"customHeaders": dict.fromkeys(channel.headers, MASK)} if channel.headers else {}
    special = {name: _traits_json(traits) for name, traits in channel.per_model.items()}
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
        "defaultFor": list(channel.default_for),
        "disabled": channel.disabled,
        "priority": channel.priority,
        "weight": channel.weight,
        **_editing(channel),
        **headers,
        **_traits_of(channel),
        **({"perModel": special} if special else {}),
        **({"createdAt": iso_of(channel.created_at)} if channel.created_at else {}),
    }


def _traits_json(traits: ModelTraits) -> dict[str, Any]:
    headers = {"headers": dict.fromkeys(traits.headers, MASK)} if traits.headers else {}
    return {**headers, **_traits_of(traits)}


def _traits_of(part: Channel | ModelTraits) -> dict[str, Any]:
    told = set(ModelTraits.model_fields) - {"headers"}
    return part.model_dump(mode="json", by_alias=True, include=told, exclude_none=True)


def _editing(entry: Channel | Model) -> dict[str, Any]:
    if not isinstance(entry, UserChannel | UserModel):
        return {"isEditable": False}
    return {"isEditable": True, "etag": etag_of(entry)}


def _model_json(model: Model, user: str) -> dict[str, Any]:
    optional = {"groupName": model.group_name, "defaultChannelRef": model.default_channel_ref}
    return {
        "modelId": model.model_id,
        "userId": user,
        "displayName": model.display_name or model.model_id,
        "capabilities": sorted(model.offers),
        "modelType": model.model_type,
        "tags": list(model.tags),
        **_editing(model),
        **{key: value for key, value in optional.items() if value},
    }
