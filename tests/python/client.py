#!/usr/bin/env python3
"""A client written by others: grpcio, which knows of Rollcall only what its reflection says.

    client.py HOST:PORT PHOTO

Prints one JSON object: the services that both versions of reflection list, health, the answer to a
search with PHOTO, a page of identities, and the error that a bad call gives. Needs grpcio,
grpcio-reflection and grpcio-health-checking on PYTHONPATH; set-up unpacks them into the assets folder.
"""

import json
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

DEADLINE_S = 60


def services_v1(channel):
    """The services listed by reflection v1; its messages are those of v1alpha under another name."""
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = call(iter([ask]), timeout=DEADLINE_S)
    return sorted(s.name for answer in answers for s in answer.list_services_response.service)


class Caller:
    """Calls methods by their names, with messages made from the server's own descriptors."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def call(self, service, method, **fields):
        """One unary call; returns the answer as plain values."""
        descriptor = self.pool.FindServiceByName(service).methods_by_name[method]
        request = message_factory.GetMessageClass(descriptor.input_type)(**fields)
        reply = message_factory.GetMessageClass(descriptor.output_type)
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        answer = stub(request, timeout=DEADLINE_S)
        return json_format.MessageToDict(answer, preserving_proto_field_name=True)

    def refused(self, service, method, **fields):
        """The code, message and detail bytes of a call that must fail."""
        try:
            answer = self.call(service, method, **fields)
        except grpc.RpcError as error:
            trailers = {key: value for key, value in error.trailing_metadata() or ()}
            details = trailers.get("grpc-status-details-bin", b"")
            return {
                "code": error.code().name,
                "message": error.details(),
                # The reason stands in it as text; google.rpc is not among the descriptors.
                "details": details.decode("utf-8", "replace"),
            }
        raise SystemExit(f"{service}/{method} should have been refused, it answered {answer}")


def main():
    address, photo = sys.argv[1:]
    with open(photo, "rb") as file:
        image = file.read()
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=DEADLINE_S)
        caller = Caller(channel)
        health = health_pb2_grpc.HealthStub(channel)
        states = {}
        for name in ("", "rollcall.v1.SearchService", "rollcall.v1.WatchService"):
            request = health_pb2.HealthCheckRequest(service=name)
            answer = health.Check(request, timeout=DEADLINE_S)
            states[name] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        search, identity = "rollcall.v1.SearchService", "rollcall.v1.IdentityService"
        found = {
            "v1alpha": sorted(caller.database.get_services()),
            "v1": services_v1(channel),
            "health": states,
            "search": caller.call(search, "SearchImage", image=image),
            "identities": caller.call(identity, "ListIdentities", page_size=2),
            "refused": caller.refused(identity, "GetIdentity", identity_id=2**63),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
