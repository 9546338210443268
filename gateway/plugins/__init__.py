"""The plugins of a running gateway: loaded anew, turned on and off, their settings and their front ends."""
