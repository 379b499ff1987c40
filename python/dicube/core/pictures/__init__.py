"""Pictures of volumes: windows, thumbnails, planes, contact sheets, and what notebooks show."""
