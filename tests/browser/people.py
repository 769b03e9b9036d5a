"""What people do with the pages, step by step; each function works with scripts and without."""

import re
import secrets

from playwright.sync_api import Page

PASSWORD = "a quiet morning in Bandung"


def sign_up(page: Page, portal) -> str:
    """Create an account, confirm the address by its mailed code and return it."""
    email = f"dewi-{secrets.token_hex(5)}@example.com"
    page.goto(f"{portal.url}/signup")
    page.get_by_label("Business name").fill("Kopi Selatan")
    page.locator("#name").fill("Dewi")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.locator("#time_zone").select_option("Asia/Jakarta")
    page.get_by_role("button", name="Create account").click()
    page.locator("#code").fill(portal.code_mailed_to(email))
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/home")
    return email


def prove_demo_wallet(page: Page, portal) -> None:
    page.goto(f"{portal.url}/settings/wallets")
    page.get_by_role("button", name="Use a demo wallet").click()
    page.get_by_role("heading", name="Your demo wallet is ready").wait_for()
    page.get_by_role("link", name="Continue").click()
    page.get_by_text("New invoices are paid here").wait_for()


def issue_invoice(page: Page, portal) -> str:
    """Write an invoice of two lines and a tax, issue it and return the address of its public page."""
    page.goto(f"{portal.url}/invoices/new")
    page.locator("#items-0-description").fill("Arabica, 250 g")
    page.locator("#items-0-quantity").fill("3")
    page.locator("#items-0-unit_price").fill("42")
    page.get_by_role("button", name="Add a line").click()
    page.locator("#items-1-description").fill("Delivery")
    page.locator("#items-1-quantity").fill("1")
    page.locator("#items-1-unit_price").fill("14")
    page.get_by_role("button", name="Add a tax").click()
    page.locator("#taxes-0-label").fill("PPN")
    page.locator("#taxes-0-percent").fill("11")
    page.get_by_role("button", name="Issue invoice").click()
    page.get_by_role("heading", level=1, name=re.compile("INV-")).wait_for()
    return page.get_by_role("link", name="Open as the payer sees it").get_attribute("href")


def pay_in_sandbox_wallet(page: Page) -> str:
    """From an open checkout: follow the link to the wallet, take an account, pay, and return the hash."""
    page.get_by_role("link", name="Open in sandbox wallet").click()
    page.get_by_role("button", name="Get a funded test account").first.click()
    page.get_by_role("button", name=re.compile(r"^Pay .* XLM$")).click()
    page.get_by_role("heading", name="Payment sent").wait_for()
    return page.locator("[data-transaction-hash]").get_attribute("data-transaction-hash")


def make_api_key(page: Page, portal) -> str:
    page.goto(f"{portal.url}/developers/keys/new")
    page.get_by_label("Name").fill("Web shop")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Create key").click()
    return page.locator("[data-secret]").inner_text().strip()
