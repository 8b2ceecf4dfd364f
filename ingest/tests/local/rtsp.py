"""Serves a file by GStreamer's RTSP server: at /tcp over TCP alone, at /udp over UDP alone, at /both.

Each client gets the file from its start, at the pace of its clock. Prints the port once it listens.
"""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
tcp, udp = GstRtsp.RTSPLowerTrans.TCP, GstRtsp.RTSPLowerTrans.UDP
for mount, transports in [("/tcp", tcp), ("/udp", udp), ("/both", tcp | udp)]:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{sys.argv[1]}" ! qtdemux name=d d.video_0 ! queue'
        " ! rtph264pay config-interval=-1 name=pay0 pt=96 )"
    )
    factory.set_protocols(transports)
    server.get_mount_points().add_factory(mount, factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
