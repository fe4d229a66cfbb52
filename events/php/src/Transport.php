<?php

declare(strict_types=1);

namespace Errands;

/** Sends one request, once: the Client tries again. Redirects are not followed. */
interface Transport
{
    /** What came back; a fault of the connection is a Response::fault, never thrown. */
    public function send(Request $request): Response;
}
