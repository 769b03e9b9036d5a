"""Sign-up, sign-in, sign-out, forgotten passwords, asking again for the password, and the mails of `make run`."""

from pathlib import Path

from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_limiter import RateLimitExceeded
from flask_login import current_user

from portal.adapters import mail
from portal.domain.merchants.accounts import PasswordWrong
from portal.domain.merchants.sessions import OpenedSession
from portal.flows import reset_password as reset_flow
from portal.flows import sign_in as sign_in_flow
from portal.flows import sign_up as sign_up_flow
from portal.kernel.clock import utc_now
from portal.kernel.tokens import new_token
from portal.web import access
from portal.web.access import public, safe_next, signed_in
from portal.web.auth import limits
from portal.web.auth.forms import (
    AskResetForm,
    ConfirmForm,
    LoginForm,
    ResendForm,
    ResetForm,
    SignUpForm,
    VerifyForm,
)
from portal.web.forms import Form, add_error, checked

bp = Blueprint("auth", __name__)
bp.register_error_handler(RateLimitExceeded, limits.too_many)

# What this browser waits to verify; signed, and gone once it is signed in.
PENDING_EMAIL, PENDING_NONCE = "verify_email", "verify_nonce"


@bp.get("/signup")
@public
def signup() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect("/home", 303)
    return render_template("auth/signup.html", form=SignUpForm())


@bp.post("/signup")
@public
@limits.mails_by_ip
@limits.mails_by_email
def create_account() -> ResponseReturnValue:
    form = SignUpForm()
    if not form.validate_on_submit():
        return render_template("auth/signup.html", form=form), 422
    email = checked(form.email)
    session[PENDING_NONCE] = sign_up_flow.sign_up(
        business_name=checked(form.business_name),
        name=checked(form.name),
        email=email,
        password=form.password.data,
        time_zone=checked(form.time_zone),
        now=utc_now(),
    )
    session[PENDING_EMAIL] = email
    return redirect(url_for(".verify"), 303)


@bp.get("/verify")
@public
def verify() -> ResponseReturnValue:
    form = VerifyForm(email=session.get(PENDING_EMAIL, ""))
    return render_template("auth/verify.html", form=form, pending=session.get(PENDING_EMAIL))


@bp.post("/verify")
@public
@limits.codes_by_ip
def redeem_code() -> ResponseReturnValue:
    form = VerifyForm()
    opened = None
    if form.validate_on_submit():
        opened = sign_up_flow.verify_email(
            email=checked(form.email),
            nonce=session.get(PENDING_NONCE, ""),
            code="".join((form.code.data or "").split())[:20],
            network=current_app.config["TAGIH"].network,
            ip=request.remote_addr,
            user_agent=request.headers.get("User-Agent"),
            now=utc_now(),
        )
        if opened is not None:
            return _enter(opened, "/home")
        form.code.errors = ["That code is not right, or its 5 minutes are over. Ask for a new one below."]
    return render_template("auth/verify.html", form=form, pending=session.get(PENDING_EMAIL)), 422


@bp.post("/verify/resend")
@public
@limits.mails_by_ip
@limits.mails_by_email
def resend_code() -> ResponseReturnValue:
    form = ResendForm()
    if form.validate_on_submit():
        session.setdefault(PENDING_NONCE, new_token(sign_up_flow.NONCE_BITS))
        sign_up_flow.send_code(email=checked(form.email), nonce=session[PENDING_NONCE], now=utc_now())
    flash("If that address waits for a code, a new one is on its way.", "success")
    return redirect(url_for(".verify"), 303)


@bp.get("/login")
@public
def login() -> ResponseReturnValue:
    target = safe_next(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(target, 303)
    return render_template("auth/login.html", form=LoginForm(), next=target)


@bp.post("/login")
@public
@limits.failures_by_ip
@limits.failures_by_email
def sign_in() -> ResponseReturnValue:
    form, target = LoginForm(), safe_next(request.form.get("next"))
    try:
        opened = sign_in_flow.sign_in(
            email=_typed(form, "email"),
            password=_typed(form, "password"),
            network=current_app.config["TAGIH"].network,
            ip=request.remote_addr,
            user_agent=request.headers.get("User-Agent"),
            now=utc_now(),
        )
    except sign_in_flow.CredentialsRefused as refusal:
        form.form_errors = [refusal.detail]
        return render_template("auth/login.html", form=form, next=target), 422
    return _enter(opened, target)


@bp.post("/logout")
@public
def logout() -> ResponseReturnValue:
    """Sign out; without a session there is nothing to do, which is no error."""
    token = request.cookies.get(access.cookie_name())
    if token and current_user.is_authenticated:
        sign_in_flow.sign_out(token=token, session=access.user().session, now=utc_now())
    session.clear()
    flash("You are signed out.", "success")
    response = redirect(url_for(".login"), 303)
    access.clear_session_cookie(response)
    return response


@bp.get("/reset")
@public
def reset() -> ResponseReturnValue:
    return render_template("auth/reset.html", form=AskResetForm(), asked=False)


@bp.post("/reset")
@public
@limits.mails_by_ip
@limits.mails_by_email
def ask_for_reset() -> ResponseReturnValue:
    form = AskResetForm()
    if not form.validate_on_submit():
        return render_template("auth/reset.html", form=form, asked=False), 422
    reset_flow.ask_for_reset(email=checked(form.email), now=utc_now())
    return redirect(url_for(".reset_sent"), 303)


@bp.get("/reset/sent")
@public
def reset_sent() -> ResponseReturnValue:
    return render_template("auth/reset.html", form=AskResetForm(), asked=True)


@bp.get("/reset/<token>")
@public
def choose_password(token: str) -> ResponseReturnValue:
    if not reset_flow.link_is_good(token, now=utc_now()):
        return render_template("auth/reset_spent.html"), 404
    return render_template("auth/reset_choose.html", form=ResetForm())


@bp.post("/reset/<token>")
@public
@limits.codes_by_ip
def set_password(token: str) -> ResponseReturnValue:
    form = ResetForm()
    if not form.validate_on_submit():
        return render_template("auth/reset_choose.html", form=form), 422
    try:
        reset_flow.reset_password(token=token, password=form.password.data, now=utc_now())
    except reset_flow.LinkSpent:
        return render_template("auth/reset_spent.html"), 404
    flash("Your new password is set and every device is signed out. Sign in with it.", "success")
    response = redirect(url_for(".login"), 303)
    access.clear_session_cookie(response)
    return response


@bp.get("/confirm")
@signed_in
def confirm() -> ResponseReturnValue:
    target = safe_next(request.args.get("next"))
    return render_template("auth/confirm.html", form=ConfirmForm(), next=target)


@bp.post("/confirm")
@signed_in
@limits.failures_by_user
def confirm_password() -> ResponseReturnValue:
    form, target = ConfirmForm(), safe_next(request.form.get("next"))
    try:
        token = sign_in_flow.confirm_password(
            session=access.user().session, password=_typed(form, "password"), now=utc_now()
        )
    except PasswordWrong as refusal:
        add_error(form.password, refusal)
        return render_template("auth/confirm.html", form=form, next=target), 422
    response = redirect(target, 303)
    access.set_session_cookie(response, token)
    return response


@bp.get("/dev/mail")
@public
def dev_mail() -> ResponseReturnValue:
    return render_template("auth/dev_mail.html", mails=mail.list_kept(_mail_folder()))


@bp.get("/dev/mail/<name>")
@public
def dev_mail_show(name: str) -> ResponseReturnValue:
    kept = mail.find_kept(_mail_folder(), name)
    if kept is None:
        abort(404)
    return render_template("auth/dev_mail_show.html", mail=kept)


def _mail_folder() -> Path:
    """Return where mails are kept as files; there is no such page where they really leave."""
    config = current_app.config["TAGIH"]
    if config.is_production or config.smtp_url:
        abort(404)
    return Path(config.var_dir / "mail")


def _typed(form: Form, name: str) -> str:
    """Return a field's text; NUL, which PostgreSQL refuses in text, is in nobody's address or password."""
    return str(form[name].data or "").replace("\x00", "")[:1000].strip(" " if name == "email" else "")


def _enter(opened: OpenedSession, target: str) -> ResponseReturnValue:
    # Nothing that was known of the stranger, its CSRF token included, outlives the sign-in.
    session.clear()
    response = make_response(redirect(target, 303))
    access.set_session_cookie(response, opened.token)
    return response
