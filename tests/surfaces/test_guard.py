"""Who is let in: Host header and token."""

import pytest

from lovely.remotetask.web.guard import HostCheck
from lovely.remotetask.web.guard import TokenCheck

TOKEN = 'a-token-for-tests'
TASKS = '/tasks/api/v1/tasks'


# --- the token --------------------------------------------------------------

def test_without_token_401(web):
    for path in ('/tasks', TASKS, '/tasks/jobs', '/nonsense'):
        response = web.get(path, token=None)
        assert response.status_int == 401
        assert response.json['error']
        assert [challenge.partition(' ')[0] for challenge
                in response.headers.getall('WWW-Authenticate')] == [
            'Bearer', 'Basic']
    response = web.request('POST', '/tasks', b'<methodCall/>', 'text/xml',
                           token=None)
    assert response.status_int == 401


@pytest.mark.parametrize('token', ['', 'wrong', TOKEN + 'x', TOKEN[:-1],
                                   'ä', '\x00'])
def test_wrong_token_401(web, token):
    assert web.get(TASKS, token=token).status_int == 401


def test_basic_with_the_token_as_password_of_any_user(web, basic):
    for user in ('mgr', '', 'ä'):
        response = web.get(TASKS, Authorization=basic(user, TOKEN))
        assert response.status_int == 200
    for password in ('', 'wrong', TOKEN + ':', ':' + TOKEN):
        response = web.get(TASKS, Authorization=basic('mgr', password))
        assert response.status_int == 401
    # The token is no user's name.
    assert web.get(TASKS, Authorization=basic(TOKEN, '')).status_int == 401


@pytest.mark.parametrize('header', [
    None, '', 'Bearer', 'Basic', 'Basic !!!', 'Basic Og==', TOKEN,
    f'Digest {TOKEN}', 'Basic ' + 'A' * 3, 'Bearer  '])
def test_headers_that_let_nobody_in(header):
    assert not TokenCheck(TOKEN)(header)


@pytest.mark.parametrize('header', [
    f'Bearer {TOKEN}', f'bearer {TOKEN}', f'BEARER   {TOKEN} '])
def test_the_scheme_is_read_in_any_case(header):
    assert TokenCheck(TOKEN)(header)


def test_an_empty_token_is_refused():
    with pytest.raises(ValueError, match='everybody'):
        TokenCheck('')


# --- the Host header --------------------------------------------------------

def test_a_foreign_host_is_403_even_with_the_token(web):
    for host in ('evil.example', 'evil.example:8080', '127.0.0.1.evil.example',
                 'localhost.evil.example', '', '10.0.0.1', '[::2]:80'):
        response = web.get(TASKS, Host=host)
        assert response.status_int == 403, host
        assert 'Host' in response.json['error']


@pytest.mark.parametrize('host', [
    'localhost', 'LOCALHOST:8080', '127.0.0.1', '127.0.0.1:9', '[::1]:8080',
    'localhost.'])
def test_own_names(web, host):
    assert web.get(TASKS, Host=host).status_int == 200


def test_other_names_can_be_allowed():
    check = HostCheck('127.0.0.1', ['Tasks.Example.org'])
    assert check('tasks.example.org:443')
    assert not check('example.org')
    assert not check(None)


def test_bound_to_everything_an_address_will_do_but_no_name():
    check = HostCheck('0.0.0.0')
    assert check('192.0.2.7:8080')
    assert check('[2001:db8::1]:8080')
    assert not check('evil.example')
    assert not HostCheck('192.0.2.7')('192.0.2.8')
    assert HostCheck('192.0.2.7')('192.0.2.7:80')
