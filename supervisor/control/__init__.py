"""Control: commands on the unix socket, systemd's notifications, reports."""
