<?php

declare(strict_types=1);

namespace App;

use Errands\ClientInterface;
use Errands\Job;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Symfony\Component\Routing\Annotation\Route;

#[AsController]
final class OrderController
{
    #[Route('/orders', methods: ['POST'])]
    public function order(Request $request, ClientInterface $client): JsonResponse
    {
        $job = Job::of('dev.errands.ics.requested.v1', json_decode($request->getContent(), true))
            ->withCallbackUrl(getenv('APP_URL') . '/callbacks');
        return new JsonResponse(['id' => $client->emit($job)], 202);
    }

    #[Route('/orders/{id}', methods: ['GET'])]
    public function show(string $id, OrderOutcomes $outcomes): JsonResponse
    {
        return new JsonResponse(['outcome' => $outcomes->of($id)]);
    }
}
