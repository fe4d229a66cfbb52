"""A new user: an account, what it needs, a welcome, and after two days the question how it is going."""

from events.flow import Flow, flow
from events.types import OnboardingCompleted, OnboardingRequested


@flow(OnboardingRequested)
async def onboarding(user: OnboardingRequested, do: Flow) -> OnboardingCompleted:
    """Should it fail or be cancelled, the account is taken away again."""
    account = await do.call("create-account", {"email": user.email}, undo="delete-account")
    await do.call("provision", {"account": account["id"]}, undo="tear-down", within="1h")
    await do.message(to=[user.email], subject="Welcome", text="Your account is ready.")
    await do.sleep(hours=48)
    active = (await do.call("activity", {"account": account["id"]}))["active"]
    if not active:
        await do.message(to=[user.email], subject="How is it going?", text="May we help?")
    return OnboardingCompleted(account=account["id"], active=active)
