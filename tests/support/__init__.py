"""What several test modules share: fakes, requests, servers, workspaces, and ways to wait. No test lives here."""
