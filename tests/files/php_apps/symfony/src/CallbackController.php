<?php

declare(strict_types=1);

namespace App;

use Errands\InvalidCallback;
use Errands\InvalidSignature;
use Errands\Webhook;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Symfony\Component\Routing\Annotation\Route;

#[AsController]
final class CallbackController
{
    // {{ the README's snippet }}
}
