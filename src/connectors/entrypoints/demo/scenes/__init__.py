"""What happens at each provider in the demonstration: the people there, and what they do."""

from connectors.entrypoints.demo.scenes.github import GITHUB
from connectors.entrypoints.demo.scenes.google import GMAIL, GOOGLE_CALENDAR, GOOGLE_DRIVE
from connectors.entrypoints.demo.scenes.jira import JIRA
from connectors.entrypoints.demo.scenes.scene import Scene
from connectors.entrypoints.demo.scenes.slack import SLACK
from connectors.entrypoints.demo.scenes.zoho import ZOHO_CLIQ, ZOHO_MAIL

SCENES: tuple[Scene, ...] = (GITHUB, SLACK, JIRA, GOOGLE_DRIVE, GOOGLE_CALENDAR, ZOHO_CLIQ, ZOHO_MAIL, GMAIL)

__all__ = ["SCENES", "Scene"]
